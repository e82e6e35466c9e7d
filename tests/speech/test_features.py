"""Log-mel features: equal to another implementation of the paper, wherever in a sound the window lies."""

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from pandagpt_core.speech.features import log_mel


def sound(seconds: float) -> np.ndarray:
    times = np.arange(round(seconds * 16_000)) / 16_000
    noise = np.random.default_rng(1).normal(0, 300, len(times))
    return (8000 * np.sin(times * 2 * np.pi * (200 + 90 * times)) + noise).astype(np.int16)


@pytest.mark.parametrize("bands", [80, 128])
def test_features_are_those_of_transformers(bands: int) -> None:
    wave = sound(7.3)
    theirs = WhisperFeatureExtractor(feature_size=bands)(wave / np.float32(32768), sampling_rate=16_000)
    # Theirs mirrors the sound at its beginning, where ours is silent before it.
    assert np.abs(log_mel(wave, 0, bands) - theirs["input_features"][0])[:, 2:].max() < 2e-4


def test_a_window_within_a_sound_sees_what_lies_before_it() -> None:
    wave = np.random.default_rng(2).normal(0, 3000, 40 * 16_000).astype(np.int16)
    whole, later = log_mel(wave, 0), log_mel(wave, 1000)
    assert np.abs(whole[:, 1000:1500] - later[:, :500]).max() < 1e-3


def test_beyond_the_end_is_silence() -> None:
    mel = log_mel(sound(1), 0)
    assert mel.shape == (80, 3000)
    assert np.ptp(mel[:, 110:]) == 0
