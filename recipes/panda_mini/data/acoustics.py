"""Waves varied as rooms, microphones and mixing desks vary them, and their pictures; 16 kHz throughout.

A sound bank has one recording of one thing. These functions make many of it, so that a tower learns the common part.
"""

import numpy as np
from numpy.fft import irfft, rfft

from pandagpt_core.media.sound.audio import FRAMES, MEAN, STD
from pandagpt_core.media.sound.filterbank import MEL_BINS, RATE, filter_bank

CLIP = 2 * RATE
_LEAST = RATE // 5


def picture(wave: np.ndarray) -> np.ndarray:
    """[1, 128, 204] of one clip of at most two seconds, as the recipe `imagebind-audio-v1` gives it."""
    wave = wave[:CLIP].astype(np.float32)
    mel = filter_bank(wave - wave.mean())[:FRAMES]
    padded = np.zeros((MEL_BINS, FRAMES), np.float32)  # a shorter sound ends in zeros, as the recipe's does
    padded[:, : len(mel)] = mel.T
    return ((padded - np.float32(MEAN)) / np.float32(STD))[None]


def varied_wave(wave: np.ndarray, other: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Another speed, room, tone, length, loudness and noise; sometimes with `other` softly behind it."""
    if rng.random() < 0.5:
        wave = _speeded(wave, float(np.exp(rng.uniform(-0.2, 0.2))))
    if rng.random() < 0.6:
        wave = _equalised(wave, rng)
    if rng.random() < 0.4:
        wave = _roomed(wave, rng)
    if rng.random() < 0.15:
        wave = np.tanh(wave / max(np.abs(wave).max(), 1e-6) * rng.uniform(1, 6))
    if rng.random() < 0.35:  # a short sound by itself
        wave = wave[: int(rng.uniform(_LEAST, CLIP))]
    elif len(wave) > CLIP:
        start = int(rng.integers(0, len(wave) - CLIP + 1))
        wave = wave[start : start + CLIP]
    if rng.random() < 0.15:
        wave = np.roll(wave, int(rng.integers(0, len(wave))))
    wave = wave / max(np.abs(wave).max(), 1e-6)
    if other is not None and rng.random() < 0.15:
        behind = np.resize(other, len(wave))
        wave = wave + behind / max(np.abs(behind).max(), 1e-6) * 10 ** rng.uniform(-1.5, -0.6)
    if rng.random() < 0.6:
        wave = wave + coloured_noise(len(wave), rng.uniform(0, 2), rng) * 10 ** rng.uniform(-3.5, -1.3)
    if rng.random() < 0.5:  # many recordings are silent above some pitch
        wave = _lowpassed(wave, float(np.exp(rng.uniform(np.log(2500), np.log(8000)))))
    loud: np.ndarray = (wave * 10 ** rng.uniform(-1.3, 0)).astype(np.float32)
    return loud


def coloured_noise(count: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Noise whose power falls as 1 / f ** slope, of deviation one."""
    shape = np.maximum(np.arange(count // 2 + 1), 1) ** (-slope / 2)
    noise = irfft(rfft(rng.normal(0, 1, count)) * shape, count)
    scaled: np.ndarray = noise / max(noise.std(), 1e-9)
    return scaled


def masked(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """SpecAugment (Park et al. 2019): bands and frames lost; the picture shifted a little and made a little rough."""
    found = clip + np.float32(rng.uniform(-0.15, 0.15))
    shift = int(rng.integers(-4, 5))
    found = np.roll(found, shift, axis=1)
    if rng.random() < 0.5:
        found = np.roll(found, int(rng.integers(0, FRAMES)), axis=2)
    for axis, most in ((1, 16), (2, 40)):
        for _ in range(int(rng.integers(0, 3))):
            width = int(rng.integers(1, most))
            start = int(rng.integers(0, found.shape[axis] - width))
            part = [slice(None)] * 3
            part[axis] = slice(start, start + width)
            found[tuple(part)] = found.mean()
    return found


def _speeded(wave: np.ndarray, factor: float) -> np.ndarray:
    at = np.arange(0, len(wave) - 1, factor)
    speeded: np.ndarray = np.interp(at, np.arange(len(wave)), wave)
    return speeded


def _equalised(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random gain over pitch, up to some 12 dB."""
    spectrum = rfft(wave)
    knots = rng.normal(0, rng.uniform(2, 7), 8)
    decibels = np.interp(np.log1p(np.arange(len(spectrum))), np.linspace(0, np.log1p(len(spectrum)), 8), knots)
    shaped: np.ndarray = irfft(spectrum * 10 ** (decibels / 20), len(wave))
    return shaped


def _roomed(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Convolved with decaying noise: a room of some size, at some distance."""
    length = int(rng.uniform(0.1, 0.8) * RATE)
    echo = rng.normal(0, 1, length) * np.exp(-np.arange(length) / length * 6.9)
    echo[0] = 0
    echo *= rng.uniform(0.05, 0.6) / np.sqrt((echo**2).sum())
    echo[0] = 1
    size = len(wave) + length
    wet: np.ndarray = irfft(rfft(wave, size) * rfft(echo, size), size)[: len(wave)]
    return wet


def _lowpassed(wave: np.ndarray, hertz: float) -> np.ndarray:
    spectrum = rfft(wave)
    pitch = np.arange(len(spectrum)) * RATE / len(wave)
    passed: np.ndarray = irfft(spectrum / (1 + (pitch / hertz) ** 8), len(wave))
    return passed
