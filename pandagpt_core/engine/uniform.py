"""Uniform numbers as a pure function of (seed, position): no state, so no batch, order or restart changes them.

A counter-based generator (Salmon et al. 2011) with the finaliser of SplitMix64 (Steele et al. 2014) as its mixer.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
MASK = (1 << 64) - 1


def uniform(seeds: Sequence[int], positions: Sequence[int]) -> NDArray[np.float64]:
    """[R] numbers in [0, 1), one for each (seed, position); seeds are taken modulo 2^64."""
    seed = np.array([seed & MASK for seed in seeds], dtype=np.uint64)
    position = np.array(positions, dtype=np.uint64)
    mixed = _mix(_mix(seed + STEP) + (position + np.uint64(1)) * STEP)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
