"""LanguageBind's sounds: against transformers' spectrogram of Kaldi's settings, and where its three parts lie."""

import warnings

import numpy as np
import numpy.typing as npt
import pytest
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read
from pandagpt_core.media.sound.fused import FRAMES, starts

RECIPE, LIMITS = "languagebind-audio-v1", Limits()


def sweep(seconds: float, rate: int = 16_000) -> npt.NDArray[np.float32]:
    at = np.arange(int(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * (200 + 150 * at) * at) + 0.1).astype(np.float32)


def spectrogram_of(wave: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[frames, 112], by transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of filters that hold no bin: so it was when the tower was trained
        filters = mel_filter_bank(257, 112, 20, 8000, 16_000, mel_scale="kaldi", triangularize_in_mel_space=True)
    made = spectrogram(
        wave.astype(np.float64),
        window_function(400, "hann", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    )
    return made.T.astype(np.float32)


def normalised(mel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return (mel.T + 4.2677393) / (2 * 4.5689974)


def test_a_short_sound_fills_three_equal_channels_again_and_again(make):
    wave = sweep(3.0)
    array = load(RECIPE, make.sound(wave, subtype="FLOAT"), {}, LIMITS)
    assert array.shape == (1, 3, 112, 1036)
    assert array.dtype == np.float32
    mel = spectrogram_of(wave)
    wanted = normalised(np.tile(mel, (4, 1))[:FRAMES])
    for channel in array[0]:
        np.testing.assert_allclose(channel, wanted, atol=2e-3)


def test_a_long_sound_gives_the_first_part_of_each_third(make):
    wave = sweep(25.0)
    array = load(RECIPE, make.sound(wave, subtype="FLOAT"), {}, LIMITS)
    mel = spectrogram_of(wave)
    thirds = np.array_split(np.arange(len(mel) - FRAMES + 1), 3)
    for channel, third in zip(array[0], thirds, strict=True):
        np.testing.assert_allclose(channel, normalised(mel[third[0] :][:FRAMES]), atol=2e-3)
    assert not np.allclose(array[0, 0], array[0, 2], atol=0.1)


@pytest.mark.parametrize(
    ("frames", "wanted"),
    [(1, [0]), (FRAMES, [0]), (FRAMES + 1, [0, 1, 0]), (FRAMES + 2, [0, 1, 2]), (FRAMES + 9, [0, 4, 7])],
)
def test_parts_start_where_the_thirds_do(frames, wanted):
    assert starts(frames) == wanted


def test_the_first_channel_alone_is_read_and_a_silent_one_is_remarked(make):
    wave = sweep(1.0)
    silent = np.zeros_like(wave)
    left = make.sound(np.stack([wave, silent], axis=1), subtype="FLOAT")
    right = make.sound(np.stack([silent, wave], axis=1), subtype="FLOAT")
    alone = load(RECIPE, make.sound(wave, subtype="FLOAT"), {}, LIMITS)
    np.testing.assert_allclose(load(RECIPE, left, {}, LIMITS), alone, atol=1e-6)
    _, notes = read(RECIPE, right, {}, LIMITS)
    assert any("first channel" in one for one in notes.warnings)


def test_another_rate_gives_nearly_the_same_picture(make):
    plain = load(RECIPE, make.sound(sweep(2.0), subtype="FLOAT"), {}, LIMITS)
    faster = load(RECIPE, make.sound(sweep(2.0, 44_100), rate=44_100, subtype="FLOAT"), {}, LIMITS)
    low = slice(0, 80)  # below the range where the two rates' own edges differ
    assert np.abs(plain[0, 0, low] - faster[0, 0, low]).mean() < 0.05


def test_less_than_a_window_is_refused(make):
    with pytest.raises(InvalidMedia, match="at least 25"):
        load(RECIPE, make.sound(sweep(0.02), subtype="FLOAT"), {}, LIMITS)
