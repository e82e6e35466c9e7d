"""Sounds for a recogniser: one channel at 16 kHz, whole or their beginning, whatever their rate and channels."""

import io

import numpy as np
import pytest
import soundfile

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read


def wav(samples: np.ndarray, rate: int, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def tone(seconds: float, rate: int, loud: float = 0.5) -> np.ndarray:
    return loud * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


def test_a_sound_at_its_own_rate_is_kept_as_it_is() -> None:
    made = load("speech-audio-v1", wav(tone(1.5, 16_000), 16_000), {}, Limits())
    assert (made.dtype, made.shape) == (np.dtype(np.int16), (24_000,))
    assert np.abs(made - tone(1.5, 16_000) * 32767).max() <= 2


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_another_rate_is_resampled_without_a_seam(rate: int) -> None:
    made = load("speech-audio-v1", wav(tone(21, rate), rate), {}, Limits())  # more than two stretches
    expected = tone(21, 16_000) * 32767
    assert abs(len(made) - len(expected)) <= 1
    inner = slice(200, 21 * 16_000 - 200)
    assert np.abs(made[inner] - expected[inner]).max() < 200


def test_channels_are_mixed_and_a_sound_beyond_full_scale_is_softer() -> None:
    two = np.stack([tone(1, 16_000), 0 * tone(1, 16_000)], axis=1)
    assert np.abs(load("speech-audio-v1", wav(two, 16_000), {}, Limits())).max() == pytest.approx(8192, abs=40)
    loud = load("speech-audio-v1", wav(tone(1, 16_000, 3.0), 16_000, "FLOAT"), {}, Limits())
    assert np.abs(loud).max() == pytest.approx(32767, abs=2)


def test_seconds_are_the_most_that_is_read() -> None:
    assert len(load("speech-audio-v1", wav(tone(3, 16_000), 16_000), {"seconds": 1.25}, Limits())) == 20_000


def test_silence_is_said_and_nothing_is_refused() -> None:
    assert read("speech-audio-v1", wav(np.zeros(16_000), 16_000), {}, Limits())[1].empty
    with pytest.raises(InvalidMedia):
        load("speech-audio-v1", wav(np.zeros(0), 16_000), {}, Limits())
