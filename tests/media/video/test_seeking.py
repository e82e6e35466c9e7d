"""A long film of large frames is reached by its key frames in every container that can be set to them."""

import io
import struct

import av
import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read
from pandagpt_core.media.video import seeking

HEIGHT, WIDTH, FRAMES, GROUP = 48, 64, 320, 10
AREA = HEIGHT * WIDTH
KINDS = [
    ("mp4", "libx264"),
    ("matroska", "libx264"),
    ("mpegts", "libx264"),
    ("mpegts", "mpeg2video"),
    ("avi", "mpeg4"),
    ("flv", "flv"),
    ("asf", "wmv2"),
]


def film(kind: str, codec: str, *, between: int = 0) -> bytes:
    """Frame i is noise around the grey 8 (i mod 32); a key frame in ten. `between`: frames that look both ways."""
    out, noise = io.BytesIO(), np.random.default_rng(0)
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 2_000_000
        stream.gop_size, stream.thread_count = GROUP, 1
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "x264-params": f"bframes={between}:keyint={GROUP}:scenecut=0"}
        for index in range(FRAMES):
            grey = np.clip(noise.normal(8 * (index % 32), 20, (HEIGHT, WIDTH, 1)), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.repeat(grey, 3, axis=2))))
        container.mux(stream.encode())
    return out.getvalue()


@pytest.mark.parametrize("between", [0, 2])
@pytest.mark.parametrize(("kind", "codec"), KINDS)
def test_frames_between_the_wanted_ones_are_not_decoded(kind, codec, between):
    """Each of eight wanted frames costs three groups at most, where all in order would be 300."""
    data = film(kind, codec, between=between)
    array, notes = read("lite0-video-v1", data, {}, Limits(frame_pixels=AREA * 8 * 3 * GROUP))
    levels = [round((float(clip.mean()) * 128 + 127) / 8) for clip in array]
    assert levels == pytest.approx([(20 + 40 * index) % 32 for index in range(8)], abs=1.5)
    assert not notes.warnings


@pytest.mark.parametrize(("kind", "codec"), KINDS)
def test_what_seeking_gives_is_what_decoding_in_order_gives(kind, codec, monkeypatch):
    data = film(kind, codec)
    sought = load("lite0-video-v1", data, {}, Limits())
    monkeypatch.setattr(seeking, "_seek", lambda *_: False)
    assert np.array_equal(sought, load("lite0-video-v1", data, {}, Limits()))


@pytest.mark.parametrize("recipe", ["imagebind-video-v1", "languagebind-video-v1"])
@pytest.mark.parametrize("between", [0, 2])
@pytest.mark.parametrize(("kind", "codec"), KINDS)
def test_frames_by_number_are_the_same_where_all_in_order_are_too_many(kind, codec, between, recipe):
    """Of ten wanted frames two lie in a clip of 50: in order they would be decoded from the first to the last."""
    data = film(kind, codec, between=between)
    assert np.array_equal(
        load(recipe, data, {}, Limits(frame_pixels=AREA * FRAMES * 9 // 10)), load(recipe, data, {}, Limits())
    )


@pytest.mark.parametrize("recipe", ["imagebind-video-v1", "languagebind-video-v1"])
def test_frames_by_number_that_cannot_be_reached_are_refused_with_the_limit(recipe):
    whole = f"the video has {AREA * FRAMES} pixels over all frames; the limit is {AREA * FRAMES - 1}"
    for data in (film("mpeg", "mpeg2video"), cut_at_a_key_frame()):
        with pytest.raises(InvalidMedia, match=whole):
            load(recipe, data, {}, Limits(frame_pixels=AREA * FRAMES - 1))
    with pytest.raises(InvalidMedia, match="pixels over the frames to decode"):
        load(recipe, film("mp4", "libx264"), {}, Limits(frame_pixels=AREA * 2 * GROUP))


def cut_at_a_key_frame() -> bytes:
    """A film whose edit list drops the first frames, as a phone's editor cuts: elst's media time, ISO 14496-12."""
    data = film("mp4", "libx264")
    at = data.index(b"elst") + 16
    return data[:at] + (struct.unpack_from(">i", data, at)[0] + 4 * 512).to_bytes(4, "big") + data[at + 4 :]


def test_a_programme_stream_is_read_in_order():
    data = film("mpeg", "mpeg2video")
    assert load("lite0-video-v1", data, {}, Limits(frame_pixels=AREA * FRAMES)).shape == (8, 3, 224, 224)
    with pytest.raises(InvalidMedia, match="pixels over the frames to decode"):
        load("lite0-video-v1", data, {}, Limits(frame_pixels=AREA * 8 * 3 * GROUP))


def test_in_order_the_same_limit_would_refuse_it(monkeypatch):
    monkeypatch.setattr(seeking, "_seek", lambda *_: False)
    with pytest.raises(InvalidMedia, match="pixels over the frames to decode"):
        load("lite0-video-v1", film("mpegts", "libx264"), {}, Limits(frame_pixels=AREA * 8 * 3 * GROUP))
