"""The sinc resampler: true to tones, silent beyond Nyquist, the same in pieces as whole."""

import numpy as np
import pytest

from pandagpt_core.media.sound.resample import Resampler


def run(wave: np.ndarray, source: int, target: int, start: int = 0, end: int | None = None) -> np.ndarray:
    resampler = Resampler(source, target)
    end = resampler.output_length(len(wave)) if end is None else end
    low, high = resampler.support(start, end)
    padded = np.pad(wave, (max(0, -low), max(0, high - len(wave))))[max(0, low) : max(0, low) + high - low]
    return resampler.run(padded.astype(np.float32)[:, None], start, end)[0]


def tone(hertz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("source", [8000, 22050, 44100, 44101, 48000, 384_000])
def test_a_tone_comes_out_as_the_same_tone(source):
    out = run(tone(440, source), source, 16000)
    assert len(out) == 8000
    assert out[200:-200] == pytest.approx(tone(440, 16000)[200:-200], abs=2e-3)


def test_what_is_above_the_new_nyquist_is_gone():
    assert np.abs(run(tone(11_000, 48000), 48000, 16000)[200:-200]).max() < 0.02


def test_a_piece_is_the_same_as_in_the_whole():
    wave = np.random.default_rng(0).normal(size=20_000)
    whole = run(wave, 44100, 16000)
    assert run(wave, 44100, 16000, 3001, 4500) == pytest.approx(whole[3001:4500], abs=1e-6)


def test_equal_rates_change_nothing():
    wave = np.random.default_rng(0).normal(size=100).astype(np.float32)
    assert np.array_equal(run(wave, 16000, 16000), wave)


@pytest.mark.parametrize(
    ("frames", "source", "length"), [(44100, 44100, 16000), (44101, 44100, 16001), (1, 8000, 2), (1, 48000, 1)]
)
def test_the_length_is_rounded_up(frames, source, length):
    assert Resampler(source, 16000).output_length(frames) == length
