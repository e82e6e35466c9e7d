"""Sounds to the fused log-mel picture [1, 3, 112, 1036] that LanguageBind's audio tower reads (Zhu et al. 2024).

Its authors published two preparations. This is the later one, of the evaluation that came with the fully tuned weights:
a short sound's spectrogram is repeated, and the deviation is doubled. The earlier one repeated samples and did not.
"""

from collections.abc import Sequence

import numpy as np

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.sound.filterbank import HOP, RATE, WINDOW, filter_bank
from pandagpt_core.media.sound.loudness import SILENT
from pandagpt_core.media.sound.resample import Resampler
from pandagpt_core.media.sound.sounds import Sound, extract, length, open_sound
from pandagpt_core.ndarrays import Float32Array

BINS, FRAMES = 112, 1036  # of the tower's position embeddings: 8 x 74 patches of 14
MEAN, STD = -4.2677393, 2 * 4.5689974
_CHANNELS = 3


def languagebind(data: bytes, params: p.Params, limits: Limits) -> Float32Array:
    """Three spectrograms of 10.4 s as channels: the first, middle and last third's first one of a longer sound, else
    the whole sound three times, repeated until it is long enough.

    The loader draws each of the three at random within its third; here each is the first, as its fixed variant has it.
    Channel 0 alone is read, as published. Each window's mean is taken off, so the sound's own mean, which the loader
    takes off before, changes nothing and is not computed.
    """
    p.only(params)
    sound = open_sound(data, limits)
    resampler = Resampler(sound.rate, RATE)
    samples = resampler.output_length(length(sound, limits))
    if samples < WINDOW:
        raise InvalidMedia(
            f"the sound lasts {samples * 1000 / RATE:.1f} ms; at least {WINDOW * 1000 // RATE} are needed"
        )
    frames = 1 + (samples - WINDOW) // HOP
    spans = [(start, min(start + FRAMES, frames)) for start in starts(frames)]
    notes.spans([(first * HOP / RATE, ((last - 1) * HOP + WINDOW) / RATE) for first, last in spans])
    pictures = [np.resize(picture, (FRAMES, BINS)) for picture in _pictures(sound, resampler, spans)]
    fused = np.stack([pictures[index % len(pictures)].T for index in range(_CHANNELS)])
    return ((fused - np.float32(MEAN)) / np.float32(STD))[None]


def starts(frames: int) -> list[int]:
    """First frames of the spectrograms. Thirds of unequal size: the first ones are the larger (numpy's array_split)."""
    if frames <= FRAMES:
        return [0]
    thirds = np.array_split(np.arange(frames - FRAMES + 1), _CHANNELS)
    return [int(third[0]) if len(third) else 0 for third in thirds]


def _pictures(sound: Sound, resampler: Resampler, spans: Sequence[tuple[int, int]]) -> list[Float32Array]:
    """[frames, 112] of channel 0 in each span of frames."""
    ranges = [(first * HOP, (last - 1) * HOP + WINDOW) for first, last in spans]
    parts = extract(sound, [resampler.support(*one) for one in ranges])
    waves = [resampler.run(part[:, :1], *one)[0] for part, one in zip(parts, ranges, strict=True)]
    if max(float(np.abs(wave).max()) for wave in waves) <= SILENT:
        alone = "first channel, which alone is read here," if sound.channels > 1 else "sound"
        notes.warn(f"The {alone} is silent.")
    return [filter_bank(wave, BINS) for wave in waves]
