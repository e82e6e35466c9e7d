"""Sounds to the log-mel magnitudes [1, 2999, 129] that EmbeddingGemma 2's audio tower reads (Gemma 4's extractor)."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.sound.channels import weights
from pandagpt_core.media.sound.loudness import SILENT
from pandagpt_core.media.sound.magnitude_layout import (
    ABSENT,
    BINS,
    FFT,
    FLOOR,
    FRAMES,
    HOP,
    MULTIPLE,
    PADDED,
    RATE,
    SECONDS,
    VALID,
    WINDOW,
)
from pandagpt_core.media.sound.resample import Resampler
from pandagpt_core.media.sound.sounds import extract, length, open_sound
from pandagpt_core.ndarrays import Float32Array

LEAST_MS = 25


def embedding_gemma2(data: bytes, params: p.Params, limits: Limits) -> Float32Array:
    """The first 30 s, all channels mixed: ln(mel magnitudes + 0.001) of 20 ms each 10 ms, and the kind of each frame.

    The sound is filled up to a multiple of 128 samples, as published; frames behind that are left out by the tower.
    """
    p.only(params)
    sound = open_sound(data, limits)
    resampler = Resampler(sound.rate, RATE)
    samples = resampler.output_length(length(sound, limits))
    if samples * 1000 < LEAST_MS * RATE:
        raise InvalidMedia(f"the sound lasts {samples * 1000 / RATE:.1f} ms; at least {LEAST_MS} are needed")
    if samples > SECONDS * RATE:
        notes.warn(f"the sound lasts {samples / RATE:.1f} s; its first {SECONDS} s are heard")
        samples = SECONDS * RATE
    [part] = extract(sound, [resampler.support(0, samples)])
    wave = weights(sound.channels) @ resampler.run(part, 0, samples)
    if float(np.abs(wave).max()) <= SILENT:
        notes.empty("The sound is silent.")
    notes.spans([(0.0, samples / RATE)])
    return _framed(wave)[None]


def _framed(wave: Float32Array) -> Float32Array:
    """[2999, 129]; half a window of silence before the sound, so that the first frame lies about its beginning."""
    filled = -(-len(wave) // MULTIPLE) * MULTIPLE
    padded = np.zeros(WINDOW // 2 + filled)
    padded[WINDOW // 2 : WINDOW // 2 + len(wave)] = wave
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW + 1)[::HOP, :-1]
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(WINDOW + 1)[:-1], FFT))
    is_valid = np.arange(len(windows)) * HOP + WINDOW // 2 < len(wave)
    framed = np.full((FRAMES, BINS + 1), ABSENT, dtype=np.float32)
    framed[: len(windows), :BINS] = np.log(spectrum @ _mel_weights() + FLOOR) * is_valid[:, None]
    framed[: len(windows), BINS] = np.where(is_valid, VALID, PADDED)
    return framed


@lru_cache(maxsize=1)
def _mel_weights() -> npt.NDArray[np.float64]:
    """[257, 128] triangles with straight sides over Hz, their edges evenly spaced on HTK's mel scale."""
    top = 2595.0 * np.log10(1.0 + RATE / 2 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, BINS + 2) / 2595.0) - 1.0)
    bins = np.linspace(0.0, RATE / 2, FFT // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    found: npt.NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    found.setflags(write=False)
    return found
