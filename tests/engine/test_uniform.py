"""The counter-based generator."""

import numpy as np

from pandagpt_core.engine.uniform import uniform


def test_a_number_depends_on_its_seed_and_position_alone() -> None:
    alone = uniform([7], [3])[0]
    assert uniform([1, 7, 9], [0, 3, 2])[1] == alone
    assert uniform([7 + 2**64], [3])[0] == alone
    assert uniform([-1], [0])[0] == uniform([2**64 - 1], [0])[0]


def test_numbers_are_fixed_for_ever() -> None:
    # Resuming on another version must draw the same: these came from an independent computation with Python integers.
    assert uniform([0, 42], [0, 5]).tolist() == [expected(0, 0), expected(42, 5)]


def expected(seed: int, position: int) -> float:
    mask, step = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    return (mix((mix((seed + step) & mask) + (position + 1) * step) & mask) >> 11) * 2.0**-53


def test_numbers_fill_the_unit_interval_evenly_along_both_axes() -> None:
    for seeds, positions in (([5] * 20_000, range(20_000)), (range(20_000), [5] * 20_000)):
        numbers = uniform(list(seeds), list(positions))
        assert numbers.min() >= 0.0
        assert numbers.max() < 1.0
        counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
        assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi-square with 19 degrees of freedom, p < 0.001


def test_neighbouring_positions_are_not_correlated() -> None:
    numbers = uniform([3] * 20_000, list(range(20_000)))
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03
