"""Whisper's log-mel features (Radford et al. 2023, section 2.2): 80 bands, windows of 25 ms every 10 ms.

The bands are those of Slaney's Auditory Toolbox: linear to 1 kHz, logarithmic above, each of equal area.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pandagpt_core.ndarrays import Float32Array
from pandagpt_core.speech.base import HOP, RATE, WINDOW_FRAMES, Samples

FFT = 400
_RANGE = 8.0  # decades below the loudest that count
_LINEAR_HZ = 200 / 3  # a mel, below 1 kHz
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_STEP = np.log(6.4) / 27  # of the logarithm, a mel above 1 kHz


def log_mel(samples: Samples, frame: int, bands: int = 80) -> Float32Array:
    """[bands, 3000] of the 30 s from `frame` on; beyond the sound's ends is silence."""
    first = frame * HOP - FFT // 2
    wave = np.zeros(WINDOW_FRAMES * HOP + FFT, dtype=np.float32)
    low, high = max(first, 0), min(first + len(wave), len(samples))
    wave[low - first : max(high, low) - first] = samples[low:high].astype(np.float32) / 32768
    parts = np.lib.stride_tricks.sliding_window_view(wave, FFT)[: WINDOW_FRAMES * HOP : HOP]
    power = np.abs(np.fft.rfft(parts * _hann())).astype(np.float32) ** 2  # [3000, 201]
    logs = np.log10(np.maximum(mel_weights(bands) @ power.T, 1e-10))
    scaled: Float32Array = ((np.maximum(logs, logs.max() - _RANGE) + 4.0) / 4.0).astype(np.float32)
    return scaled


@lru_cache(maxsize=1)
def _hann() -> Float32Array:
    """Periodic."""
    return np.hanning(FFT + 1)[:-1].astype(np.float32)


@lru_cache(maxsize=2)
def mel_weights(bands: int) -> Float32Array:
    """[bands, 201]"""
    edges = _hertz(np.linspace(0.0, _mel(RATE / 2), bands + 2))
    bins = np.linspace(0.0, RATE / 2, FFT // 2 + 1)[None]
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.maximum(0.0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
    return (triangles * 2.0 / (high - low)).astype(np.float32)


def _mel(hertz: float) -> float:
    return float(_BREAK_MEL + np.log(hertz / _BREAK_HZ) / _STEP)  # above the break alone


def _hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = _BREAK_HZ * np.exp(_STEP * (mels - _BREAK_MEL))
    return np.where(mels < _BREAK_MEL, mels * _LINEAR_HZ, above)
