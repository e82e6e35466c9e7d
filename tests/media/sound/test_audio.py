"""Sounds: every allowed format and rate, clips, and headers that lie."""

import struct

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load
from pandagpt_core.media.sound.audio import clip_ranges, merged

RECIPE, LIMITS = "imagebind-audio-v1", Limits()


def loudest_bin(array: np.ndarray) -> int:
    return int(array[0, 0, :, 20:80].mean(axis=1).argmax())


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_U8"),
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("WAV", "DOUBLE"),
        ("WAV", "ULAW"),
        ("WAVEX", "PCM_16"),
        ("RF64", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_every_allowed_format_gives_the_same_tone(make, kind, subtype):
    plain = load(RECIPE, make.sound(make.tone(2.0)), {}, LIMITS)
    array = load(RECIPE, make.sound(make.tone(2.0), kind=kind, subtype=subtype), {}, LIMITS)
    assert array.shape == (3, 1, 128, 204)
    assert array.dtype == np.float32
    assert abs(loudest_bin(array) - loudest_bin(plain)) <= 1


@pytest.mark.parametrize(
    ("codec", "kind", "rate"), [("aac", "mp4", 44100), ("alac", "mp4", 16000), ("libopus", "webm", 48000)]
)
def test_m4a_and_webm_give_the_same_tone(make, codec, kind, rate):
    plain = load(RECIPE, make.sound(make.tone(2.0)), {}, LIMITS)
    array = load(RECIPE, make.m4a(make.tone(2.0, rate), rate, codec, kind), {}, LIMITS)
    assert abs(loudest_bin(array) - loudest_bin(plain)) <= 1


@pytest.mark.parametrize("kind", ["VOC", "NIST", "IRCAM"])
def test_other_formats_of_libsndfile_are_refused(make, kind):
    with pytest.raises(InvalidMedia, match="none of WAV"):
        load(RECIPE, make.sound(make.tone(), kind=kind), {}, LIMITS)


@pytest.mark.parametrize("kind", ["AIFF", "AU", "CAF", "W64"])
def test_formats_of_other_recorders_are_heard_as_wav_is(make, kind):
    wave = make.tone()
    assert load(RECIPE, make.sound(wave, kind=kind, subtype="PCM_16"), {}, LIMITS) == pytest.approx(
        load(RECIPE, make.sound(wave, subtype="PCM_16"), {}, LIMITS)
    )


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_the_codecs_of_dictation_inside_wav_are_heard(make, subtype):
    array = load(RECIPE, make.sound(make.tone(rate=8000), 8000, subtype=subtype), {}, LIMITS)
    assert loudest_bin(array) == loudest_bin(load(RECIPE, make.sound(make.tone()), {}, LIMITS))


def test_a_rare_codec_inside_wav_is_refused_by_name(make):
    with pytest.raises(InvalidMedia, match="encoding, G721_32, is not supported"):
        load(RECIPE, make.sound(make.tone(rate=8000), 8000, subtype="G721_32"), {}, LIMITS)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 44101, 48000, 96000, 192_000, 383_999, 384_000])
def test_a_tone_stays_where_it_is_whatever_the_rate(make, rate):
    plain = load(RECIPE, make.sound(make.tone(1.0)), {}, LIMITS)
    array = load(RECIPE, make.sound(make.tone(1.0, rate), rate), {}, LIMITS)
    assert loudest_bin(array) == loudest_bin(plain)


def test_the_lowest_rate_decodes(make):
    assert load(RECIPE, make.sound(np.array([0.1, -0.1, 0.2]), 1), {}, LIMITS).shape == (3, 1, 128, 204)


def test_a_rate_beyond_the_limit_is_refused(make):
    with pytest.raises(InvalidMedia, match="has 384001 samples a second; the limit is 384000"):
        load(RECIPE, make.sound(make.tone(0.1, 16000), 384_001), {}, LIMITS)


@pytest.mark.parametrize(("samples", "shown"), [(1, "0.1 ms"), (399, "24.9 ms")])
def test_a_sound_under_one_window_is_refused_saying_so(make, samples, shown):
    with pytest.raises(InvalidMedia, match=f"lasts {shown}; at least 25 ms"):
        load(RECIPE, make.sound(np.ones(samples) / 2), {}, LIMITS)
    assert load(RECIPE, make.sound(np.ones(400) / 2), {}, LIMITS).shape == (3, 1, 128, 204)


def test_a_sound_without_samples_is_refused(make):
    with pytest.raises(InvalidMedia, match=r"lasts 0\.0 ms"):
        load(RECIPE, make.sound(np.zeros(0)), {}, LIMITS)


def test_the_first_channel_is_the_one_heard(make):
    left, right = make.tone(1.0, hertz=300.0), make.tone(1.0, hertz=3000.0)
    stereo = load(RECIPE, make.sound(np.stack([left, right], axis=1)), {}, LIMITS)
    assert loudest_bin(stereo) == loudest_bin(load(RECIPE, make.sound(left), {}, LIMITS))


def test_a_long_sound_gives_its_start_middle_and_end(make):
    wave = np.concatenate([make.tone(4.0, hertz=hertz) for hertz in (300.0, 1000.0, 3000.0)])
    clips = load(RECIPE, make.sound(wave), {}, LIMITS)
    singles = [load(RECIPE, make.sound(make.tone(2.0, hertz=hertz)), {}, LIMITS) for hertz in (300.0, 1000.0, 3000.0)]
    assert [loudest_bin(clips[index : index + 1]) for index in range(3)] == [loudest_bin(one) for one in singles]


def test_clips_apart_are_resampled_apart_and_clips_overlapping_together():
    assert clip_ranges(160_000) == [(0, 32_000), (64_000, 96_000), (128_000, 160_000)]
    assert merged(clip_ranges(160_000)) == clip_ranges(160_000)
    assert merged(clip_ranges(48_000)) == [(0, 48_000)]
    assert merged(clip_ranges(8_000)) == [(0, 8_000)]


def test_seconds_samples_and_channels_are_bounded_while_decoding(make):
    data = make.sound(np.zeros((16_000, 2)))
    with pytest.raises(InvalidMedia, match=r"seconds; the limit is 0\.50"):
        load(RECIPE, data, {}, Limits(seconds=0.5))
    with pytest.raises(InvalidMedia, match="samples; the limit is 20000"):
        load(RECIPE, data, {}, Limits(samples=20_000))
    with pytest.raises(InvalidMedia, match="has 2 channels; the limit is 1"):
        load(RECIPE, data, {}, Limits(channels=1))


@pytest.mark.parametrize("promised", [2**31, 2**32 - 1, 2**31 - 2])
def test_a_wav_is_as_long_as_its_bytes_whatever_it_promises(make, promised):
    honest = make.wav_claiming(16_000)
    assert np.array_equal(load(RECIPE, make.wav_claiming(promised), {}, LIMITS), load(RECIPE, honest, {}, LIMITS))


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (2**31, 1), (16_000, 0), (16_000, 65_535), (16_000, 300)])
def test_a_wav_of_impossible_rate_or_channels_is_refused(make, rate, channels):
    with pytest.raises(InvalidMedia):
        load(RECIPE, make.wav_claiming(16_000, rate, channels), {}, LIMITS)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(make, bad):
    wave = make.tone()
    wave[500] = bad
    with pytest.raises(InvalidMedia, match="NaN or infinity"):
        load(RECIPE, make.sound(wave, subtype="FLOAT"), {}, LIMITS)


def test_samples_too_loud_for_a_filter_bank_are_refused(make):
    with pytest.raises(InvalidMedia, match="louder"):
        load(RECIPE, make.sound(make.tone() * 1e30, subtype="FLOAT"), {}, LIMITS)


def test_a_video_without_sound_is_no_sound(make):
    with pytest.raises(InvalidMedia, match="no sound"):
        load(RECIPE, make.video(make.grey_frames(3)), {}, LIMITS)


def test_an_extensible_wav_with_a_foreign_format_is_refused():
    form = struct.pack("<HHIIHH", 0x0161, 2, 16000, 16000, 1024, 16)  # Windows Media Audio
    data = (
        b"RIFF" + struct.pack("<I", 100) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data\x40\0\0\0" + b"\1" * 64
    )
    with pytest.raises(InvalidMedia):
        load(RECIPE, data, {}, LIMITS)
