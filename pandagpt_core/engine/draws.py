"""Draw one token from each row of weights, by random numbers that are a pure function of (seed, position, token).

A draw is an exponential race: token i arrives at E_i / w_i, E_i exponential, and the first one wins, which is token i
with probability w_i (Gumbel-max in other words; Maddison et al. 2014). Each token has a number of its own, so weights
that differ in their last bits, as those of another batch do, change the winner only where two arrive at once. With one
number a row, on the cumulated weights, the small differences of all tokens before a place add up there: over 49,152
tokens such a draw changed 20 times as often.

The generators are counter-based (Salmon et al. 2011), so no batch, order or restart changes a number: a row's key has
the finaliser of SplitMix64 (Steele et al. 2014) as its mixer, a token's number that of a 32-bit hash.
"""

from collections.abc import Sequence as Items

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
MASK = (1 << 64) - 1
FIRST, SECOND = 0x7FEB352D, -0x7B935975  # odd multipliers of 32 bits; int32 products wrap


def draw(weights: Tensor, seeds: Items[int], positions: Items[int]) -> Tensor:
    """[R]: a token of each row of weights [R, V], which need not sum to 1. A token of weight 0 is never drawn."""
    numbers = keys(seeds, positions)
    if weights.device.type != "cpu":
        return _race(weights, numbers)
    rows = range(len(weights))  # one by one, a row of each pass stays in the processor's cache
    return torch.cat([_race(weights[row : row + 1], numbers[row : row + 1]) for row in rows])


def _race(weights: Tensor, numbers: NDArray[np.uint64]) -> Tensor:
    # Times are negative here, and the last one wins: that saves a pass over the vocabulary.
    return (weights / log_survival(numbers, weights.shape[-1], weights.device)).argmin(dim=-1)


def log_survival(numbers: NDArray[np.uint64], vocab: int, device: torch.device) -> Tensor:
    """[R, V] float32, each the negative of an exponential number of mean 1."""
    bits = token_bits(numbers, vocab, device)
    u = bits.float().add_(0.5).mul_(2.0**-31).clamp_(max=1 - 2.0**-24)  # small ones keep their relative precision
    return torch.log1p(u.neg_())


def token_bits(numbers: NDArray[np.uint64], vocab: int, device: torch.device) -> Tensor:
    """[R, V] int32 of 31 random bits, by row key and token."""
    low, high = (_halves(numbers, device, shift) for shift in (0, 32))
    x = _tokens(vocab, device) ^ low
    x.mul_(high | 1)
    x.bitwise_xor_((x >> 15).bitwise_and_(0x1FFFF)).mul_(SECOND)
    x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF)).mul_(FIRST)
    return x.bitwise_xor_((x >> 15).bitwise_and_(0x1FFFF)).bitwise_and_(0x7FFFFFFF)


def _halves(numbers: NDArray[np.uint64], device: torch.device, shift: int) -> Tensor:
    halves = ((numbers >> np.uint64(shift)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return torch.from_numpy(halves.view(np.int32))[:, None].to(device)


def _tokens(vocab: int, device: torch.device) -> Tensor:
    """[1, V] int32: token ids, spread over all 32 bits."""
    x = torch.arange(vocab, dtype=torch.int32, device=device)[None] * FIRST
    x ^= (x >> 15) & 0x1FFFF
    return x * SECOND


def keys(seeds: Items[int], positions: Items[int]) -> NDArray[np.uint64]:
    """[R] numbers of 64 bits, one for each (seed, position); seeds are taken modulo 2^64."""
    seed = np.array([seed & MASK for seed in seeds], dtype=np.uint64)
    position = np.array(positions, dtype=np.uint64)
    return _mix(_mix(seed + STEP) + (position + np.uint64(1)) * STEP)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
