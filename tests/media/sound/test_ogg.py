"""Chained Ogg: every link counts and is decoded."""

import io
from collections.abc import Callable
from dataclasses import replace

import av
import numpy as np
import pytest
import soundfile

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.sound.sounds import MAX_LINKS, extract, length, links, open_sound

RATE = 48_000


def tone(hertz: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """One second, float [rate, channels]."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


def coded(subtype: str, samples: np.ndarray, rate: int = RATE) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="OGG", subtype=subtype)
    return out.getvalue()


def opus(hertz: float) -> bytes:
    return coded("OPUS", tone(hertz))


def vorbis(hertz: float) -> bytes:
    return coded("VORBIS", tone(hertz))


def flac(hertz: float) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="ogg") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        whole = (tone(hertz).T * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            if packet.size:
                container.mux(packet)
    return out.getvalue()


CODECS = pytest.mark.parametrize("codec", [opus, vorbis, flac], ids=lambda codec: codec.__name__)


@CODECS
def test_each_link_is_decoded_as_it_is_by_itself(codec: Callable[[float], bytes]) -> None:
    chain = [codec(hertz) for hertz in (440, 880, 220)]
    alone = [open_sound(data, Limits()) for data in chain]
    lengths = [length(sound, Limits()) for sound in alone]
    joined = open_sound(b"".join(chain), Limits())
    assert length(joined, Limits()) == sum(lengths) == pytest.approx(3 * RATE, abs=0.01 * RATE)
    (whole,) = extract(joined, [(0, sum(lengths))])
    parts = [extract(sound, [(0, size)])[0] for sound, size in zip(alone, lengths, strict=True)]
    assert np.array_equal(whole, np.concatenate(parts))


@CODECS
def test_the_limits_of_a_sound_count_all_links(codec: Callable[[float], bytes]) -> None:
    limits = replace(Limits(), seconds=2)
    assert length(open_sound(codec(440), limits), limits) > 0
    with pytest.raises(InvalidMedia, match="seconds"):
        length(open_sound(codec(440) * 3, limits), limits)


@pytest.mark.parametrize("second", [coded("VORBIS", tone(440, 24_000), 24_000), coded("VORBIS", tone(440, channels=2))])
def test_links_of_another_rate_or_number_of_channels_are_refused_by_number(second: bytes) -> None:
    with pytest.raises(InvalidMedia, match="link 2 of the chained Ogg has"):
        open_sound(vorbis(440) + second, Limits())


def test_links_of_other_codecs_are_decoded_too() -> None:
    assert length(open_sound(opus(440) + vorbis(440) + flac(440), Limits()), Limits()) == pytest.approx(3 * RATE, 0.01)


def test_streams_side_by_side_are_one_link() -> None:
    data = vorbis(440)
    second = data.index(b"OggS", 4)
    assert links(data) == [data]
    assert len(links(data[:second] + data)) == 1  # two first pages, as where streams are multiplexed
    assert links(data * 2) == [data, data]


def test_a_chain_of_too_many_links_is_refused_with_the_limit() -> None:
    with pytest.raises(InvalidMedia, match=f"{MAX_LINKS}"):
        open_sound(vorbis(440) * (MAX_LINKS + 1), Limits())
