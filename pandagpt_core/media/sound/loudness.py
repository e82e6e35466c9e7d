"""The loud parts of a long sound: energy by quarters of a second, and the clips that are taken from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.sound.channels import weights
from pandagpt_core.media.sound.sounds import Sound

CLIPS, CLIP_SECONDS = 3, 2
SILENT = 1e-4  # of full scale, -80 dB: a peak below it is digital silence
_BINS = 4  # a second
_QUIET = 0.1  # of the loudest clip's energy, -10 dB: a clip below it holds too little


@dataclass(frozen=True, slots=True)
class Levels:
    """`bins` are mean energies of all channels by quarters of a second; `channels` and `mixed` of the whole sound."""

    frames: int
    peak: float
    bins: npt.NDArray[np.float64]
    channels: npt.NDArray[np.float64]
    mixed: float


def survey(sound: Sound, limits: Limits) -> Levels:
    """By decoding once. Raises InvalidMedia beyond the limits and for NaN."""
    size = max(1, sound.rate // _BINS)
    share = weights(sound.channels)
    frames, peak, mixed = 0, 0.0, 0.0
    energies = np.zeros(sound.channels)
    bins: list[float] = []
    rest = np.zeros(0)
    with decoding("sound"):
        for block in sound.blocks():
            frames += len(block)
            check(frames * sound.channels, limits.samples, "the sound", "samples")
            check(frames / sound.rate, limits.seconds, "the sound", "seconds")
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            if not np.isfinite(peak):
                raise InvalidMedia("the sound holds NaN or infinity")
            squares = block.astype(np.float64) ** 2
            energies += squares.sum(axis=0)
            mixed += float(((block @ share).astype(np.float64) ** 2).sum())
            rest = np.concatenate([rest, squares.mean(axis=1)])
            whole = len(rest) // size * size
            bins += rest[:whole].reshape(-1, size).mean(axis=1).tolist()
            rest = rest[whole:]
    return Levels(frames, peak, np.array([*bins, float(rest.sum()) / size]), energies, mixed)


def even_starts(seconds: float) -> list[float]:
    """Of clips spread evenly over the whole; all start at 0 where it is shorter than one."""
    last = max(seconds - CLIP_SECONDS, 0.0)
    return [index * last / (CLIPS - 1) for index in range(CLIPS)]


def chosen_starts(levels: Levels, seconds: float) -> list[float]:
    """Even clips where each holds sound, else the loudest that do not overlap, the loudest again where none is left."""
    even = even_starts(seconds)
    if seconds <= CLIPS * CLIP_SECONDS:
        return even
    window = CLIP_SECONDS * _BINS
    energy = np.convolve(levels.bins, np.ones(window), "valid")  # of a clip that starts at each bin
    loudest = float(energy.max())
    if loudest == 0 or all(energy[_bin(start, energy)] >= _QUIET * loudest for start in even):
        return even
    last = seconds - CLIP_SECONDS
    return sorted(min(one / _BINS, last) for one in _loudest(energy, window, loudest))


def _bin(start: float, energy: Sequence[float] | npt.NDArray[np.float64]) -> int:
    return min(round(start * _BINS), len(energy) - 1)


def _loudest(energy: npt.NDArray[np.float64], window: int, loudest: float) -> list[int]:
    left, chosen = energy.copy(), list[int]()
    while len(chosen) < CLIPS:
        at = int(left.argmax())
        if left[at] < _QUIET * loudest:
            break
        chosen.append(at)
        left[max(0, at - window + 1) : at + window] = -1.0
    return chosen + chosen[:1] * (CLIPS - len(chosen))
