"""Draw one token from each row of weights, by random numbers that are a pure function of (seed, position, token).

A draw is an exponential race: token i arrives at E_i / w_i, E_i exponential, and the first one wins, which is token i
with probability w_i (Gumbel-max in other words; Maddison et al. 2014). Each token has a number of its own, so weights
that differ in their last bits, as those of another batch do, change the winner only where two arrive at once. With one
number a row, on the cumulated weights, the small differences of all tokens before a place add up there: over 49,152
tokens such a draw changed 20 times as often.

The generators are counter-based (Salmon et al. 2011), so no batch, order or restart changes a number: a row's key has
the finaliser of SplitMix64 (Steele et al. 2014) as its mixer, a token's number that of a 32-bit hash.
"""

import functools
from collections.abc import Sequence as Items
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
MASK = (1 << 64) - 1
FIRST, SECOND = 0x7FEB352D, -0x7B935975  # odd multipliers of 32 bits; int32 products wrap
BITS = 31  # of a token's number
SLACK = 1e-4  # relative, far above what float32 rounds

Int32s = TypeVar("Int32s", Tensor, NDArray[np.int32])


def draw(weights: Tensor, seeds: Items[int], positions: Items[int]) -> Tensor:
    """[R]: a token of each row of weights [R, V], which need not sum to 1. A token of weight 0 is never drawn."""
    numbers = keys(seeds, positions)
    if weights.device.type == "cpu":
        return torch.tensor([_winner(row, *key) for row, *key in zip(weights.numpy(), *_halves(numbers), strict=True)])
    # Times are negative here, and the last one wins: that saves a pass over the vocabulary.
    return (weights / log_survival(token_bits(numbers, weights.shape[-1], weights.device))).argmin(dim=-1)


def _winner(weights: NDArray[np.float32], low: np.int32, high: np.int32) -> int:
    """The race of one row, run by those tokens alone that may win.

    E is at least its random number u in (0, 1). So a token whose w / u is below the likeliest token's w / E cannot win:
    of 49,152 some ten are left, and only they take a logarithm. By numpy, since torch shares so short a pass among
    threads, which have to wake first.
    """
    bits = _hashed(_spread(len(weights)), low, high)
    likeliest = np.array([weights.argmax()])
    bound = _paces(weights, bits, likeliest).item() * 2.0**-BITS * (1 - SLACK)
    # Beside a weight that is no number every comparison is false, and rules no token out.
    unable = bits.astype(np.float32) * np.float32(bound) > weights
    able = np.flatnonzero(~unable)
    return int(able[_paces(weights, bits, able).argmax()])


def _paces(weights: NDArray[np.float32], bits: NDArray[np.int32], tokens: NDArray[np.intp]) -> Tensor:
    """w / E of some tokens: the largest wins."""
    return torch.from_numpy(weights[tokens]) / -log_survival(torch.from_numpy(bits[tokens]))


def log_survival(bits: Tensor) -> Tensor:
    """float32 of tokens' numbers, each the negative of an exponential number of mean 1."""
    u = bits.float().add_(0.5).mul_(2.0**-BITS).clamp_(max=1 - 2.0**-24)  # small ones keep their relative precision
    return torch.log1p(u.neg_())


def token_bits(numbers: NDArray[np.uint64], vocab: int, device: torch.device) -> Tensor:
    """[R, V] int32 of 31 random bits, by row key and token."""
    low, high = (torch.from_numpy(half)[:, None].to(device) for half in _halves(numbers))
    return _hashed(_scattered(torch.arange(vocab, dtype=torch.int32, device=device)), low, high)


@functools.lru_cache(maxsize=8)
def _spread(vocab: int) -> NDArray[np.int32]:
    return _scattered(np.arange(vocab, dtype=np.int32))


def _scattered(ids: Int32s) -> Int32s:
    """Token ids, spread over all 32 bits."""
    x = ids * FIRST
    x ^= (x >> 15) & 0x1FFFF
    x *= SECOND
    return x


def _hashed(tokens: Int32s, low: Any, high: Any) -> Int32s:
    """Tokens' numbers under a key's halves [R, 1], or under those of one key."""
    x: Int32s = tokens ^ low
    x *= high | 1
    x ^= (x >> 15) & 0x1FFFF
    x *= SECOND
    x ^= (x >> 16) & 0xFFFF
    x *= FIRST
    x ^= (x >> 15) & 0x1FFFF
    x &= 0x7FFFFFFF
    return x


def _halves(numbers: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The lower and the upper 32 bits of each."""
    low, high = ((numbers >> np.uint64(shift)).astype(np.uint32).view(np.int32) for shift in (0, 32))
    return low, high


def keys(seeds: Items[int], positions: Items[int]) -> NDArray[np.uint64]:
    """[R] numbers of 64 bits, one for each (seed, position); seeds are taken modulo 2^64."""
    seed = np.array([seed & MASK for seed in seeds], dtype=np.uint64)
    position = np.array(positions, dtype=np.uint64)
    return _mix(_mix(seed + STEP) + (position + np.uint64(1)) * STEP)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
