"""Draws: fixed numbers, the right distribution, and the same token for weights that differ in their last bits."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pandagpt_core.engine.draws import draw, keys, log_survival, token_bits

CPU = torch.device("cpu")


def chi_square(counts: np.ndarray, expected: np.ndarray | float) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize(("seeds", "positions"), [(range(8000), [5] * 8000), ([5] * 8000, range(8000))])
def test_draws_follow_the_weights_along_seeds_and_along_positions(seeds: list[int], positions: list[int]) -> None:
    weights = torch.softmax(torch.linspace(-2, 1, 8), dim=-1)
    drawn = draw(weights.expand(8000, -1), seeds, positions)
    counts = np.bincount(drawn.numpy(), minlength=8)
    assert chi_square(counts, weights.numpy() * 8000) < 25  # 7 degrees of freedom, p < 0.001


def test_a_draw_depends_on_its_own_row_alone() -> None:
    weights = torch.rand(3, 500, generator=torch.Generator().manual_seed(0))
    seeds, positions = [1, 7, 9], [0, 3, 2]
    alone = [int(draw(weights[n : n + 1], seeds[n : n + 1], positions[n : n + 1])) for n in range(3)]
    assert draw(weights, seeds, positions).tolist() == alone


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_a_draw_is_won_by_the_first_of_all_tokens(temperature: float) -> None:
    weights = torch.softmax(tail(5_000) / temperature, dim=-1).expand(2000, -1)
    times = weights / log_survival(token_bits(keys(range(2000), [3] * 2000), 5_000, CPU))
    assert draw(weights, range(2000), [3] * 2000).tolist() == times.argmin(dim=-1).tolist()


def test_seeds_are_taken_modulo_two_to_the_64() -> None:
    assert keys([7 + 2**64], [3]) == keys([7], [3])
    assert keys([-1], [0]) == keys([2**64 - 1], [0])


def test_the_numbers_of_one_row_are_even_and_neighbours_unlike() -> None:
    bits = token_bits(keys([3], [4]), 100_000, CPU)[0].numpy()
    assert chi_square(np.histogram(bits, 64, (0, 2**31))[0], 100_000 / 64) < 105  # 63 degrees, p < 0.001
    pairs = np.histogram2d(bits[1:], bits[:-1], 16, ((0, 2**31), (0, 2**31)))[0]
    assert chi_square(pairs, 99_999 / 256) < 331  # 255 degrees, p < 0.001


def test_the_numbers_of_one_token_are_even_and_unlike_from_position_to_position() -> None:
    bits = token_bits(keys([3] * 50_000, range(50_000)), 2, CPU)[:, 1].numpy()
    assert chi_square(np.histogram(bits, 64, (0, 2**31))[0], 50_000 / 64) < 105
    pairs = np.histogram2d(bits[1:], bits[:-1], 16, ((0, 2**31), (0, 2**31)))[0]
    assert chi_square(pairs, 49_999 / 256) < 331


def test_numbers_are_fixed_for_ever() -> None:
    # Resuming on another version must draw the same: these come from an independent computation with Python integers.
    found = token_bits(keys([0, 42], [0, 5]), 3, CPU).tolist()
    assert found == [[python_bits(seed, position, token) for token in range(3)] for seed, position in ((0, 0), (42, 5))]


def python_bits(seed: int, position: int, token: int) -> int:
    key = python_key(seed, position)
    x = token * 0x7FEB352D % 2**32
    x = (x ^ (x >> 15)) * 0x846CA68B % 2**32
    x = (x ^ key % 2**32) * (key >> 32 | 1) % 2**32
    x = (x ^ (x >> 15)) * 0x846CA68B % 2**32
    x = (x ^ (x >> 16)) * 0x7FEB352D % 2**32
    return (x ^ (x >> 15)) % 2**31


def python_key(seed: int, position: int) -> int:
    mask, step = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    return mix((mix((seed + step) & mask) + (position + 1) * step) & mask)


def test_times_are_finite_and_pass_in_one_direction() -> None:
    times = log_survival(token_bits(keys([1] * 64, range(64)), 50_000, CPU))
    assert torch.isfinite(times).all()
    assert (times < 0).all()


def test_a_token_of_no_weight_is_never_drawn() -> None:
    weights = torch.tensor([[0.0, 1e-30, 0.0, 1e-30, 0.0]]).expand(500, -1)
    assert set(draw(weights, range(500), [0] * 500).tolist()) == {1, 3}


def test_a_row_that_is_no_number_leaves_the_others_their_tokens() -> None:
    weights = torch.softmax(tail(500), dim=-1).repeat(3, 1)
    seeds, positions = [1, 2, 3], [0, 0, 0]
    alone = draw(weights, seeds, positions).tolist()
    weights[1] = float("nan")
    drawn = draw(weights, seeds, positions).tolist()
    assert drawn[::2] == alone[::2]
    assert 0 <= drawn[1] < 500


def tail(vocab: int) -> Tensor:
    """[1, V] logits like a language model's: a few likely tokens among many that are not."""
    order = torch.randperm(vocab, generator=torch.Generator().manual_seed(1))
    return -1.5 * torch.arange(1, vocab + 1).log()[order][None]


def test_weights_that_differ_in_their_last_bits_draw_the_same_token() -> None:
    """By as much as logits differ in float32 from batch to batch. One number a row, on the cumulated weights, fails."""
    logits = tail(49_152)
    noise = 2e-5 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    weights, others = (torch.softmax(each, dim=-1) for each in (logits, logits + noise))
    seeds = range(2000)
    changed = sum(int(draw(weights, [seed], [0]) != draw(others, [seed], [0])) for seed in seeds)
    assert changed <= 1
