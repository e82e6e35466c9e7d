"""Videos: which frames are shown, which containers and codecs come in, and bounds held while decoding."""

import io
import tracemalloc

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load
from pandagpt_core.media.pictures.bilinear import resize_crop, short_side
from pandagpt_core.media.video.video import clip_frames
from tests.media.conftest import Make

IMAGEBIND, LITE0, LIMITS = "imagebind-video-v1", "lite0-video-v1", Limits()
LANGUAGEBIND = "languagebind-video-v1"


def shown(clip: np.ndarray) -> int:
    """The index that a flat grey frame of `grey_frames` tells, from lite0's scaling."""
    return round((float(clip.mean()) * 128 + 127) / 8)


@pytest.mark.parametrize(
    ("codec", "kind"),
    [
        ("mpeg4", "mp4"),
        ("libx264", "mp4"),
        ("libx264", "mov"),
        ("libx264", "matroska"),
        ("libvpx", "webm"),
        ("mjpeg", "avi"),
        ("mpeg2video", "matroska"),
    ],
)
def test_every_allowed_container_decodes(make, codec, kind):
    data = make.video(make.grey_frames(20), codec=codec, kind=kind)
    assert load(IMAGEBIND, data, {}, LIMITS).shape == (15, 3, 2, 224, 224)
    clips = load(LITE0, data, {}, LIMITS)
    assert clips.shape == (8, 3, 224, 224)
    assert clips.dtype == np.float32
    assert [shown(clip) for clip in clips] == [1, 3, 6, 8, 11, 13, 16, 18]


@pytest.mark.parametrize(("count", "shown_frames"), [(20, [0, 2, 5, 8, 10, 13, 16, 19]), (3, [0, 0, 0, 0, 1, 1, 1, 2])])
def test_languagebind_reads_eight_frames_from_the_first_to_the_last(make, count, shown_frames):
    data = make.video(make.grey_frames(count), codec="libx264", kind="mp4")
    clip = load(LANGUAGEBIND, data, {}, LIMITS)
    assert clip.shape == (1, 3, 8, 224, 224)
    assert clip.dtype == np.float32
    greys = clip[0, 0].mean(axis=(1, 2)) * 0.26862954 + 0.48145466
    assert [round(float(grey) * 255 / 8) for grey in greys] == shown_frames


@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(1, 40),
    codec=st.sampled_from(["libx264", "libvpx", "mpeg4"]),
    kind=st.sampled_from(["mov", "matroska"]),
)
def test_a_video_of_few_frames_shows_those_of_its_moments(count, codec, kind):
    """Decoders hold frames back, of a short video all of them until its end."""
    make = Make()
    clips = load(
        LITE0,
        make.video(make.grey_frames(count), codec=codec, kind="matroska" if codec == "libvpx" else kind),
        {},
        LIMITS,
    )
    wanted = [min(int((2 * index + 1) * count / 16), count - 1) for index in range(8)]
    assert [shown(clip) for clip in clips] == pytest.approx([min(8 * one, 255) / 8 for one in wanted], abs=1)


def test_other_containers_are_refused(make):
    with pytest.raises(InvalidMedia, match="none of MP4"):
        load(LITE0, make.video(make.grey_frames(4), kind="nut", rate=25), {}, LIMITS)


@pytest.mark.parametrize(
    ("codec", "kind"), [("flv", "flv"), ("mpeg1video", "mpeg"), ("mpeg2video", "mpegts"), ("wmv2", "asf")]
)
def test_containers_of_old_and_of_broadcasts_are_read(make, codec, kind):
    data = make.video(make.grey_frames(20), codec=codec, kind=kind, rate=25)
    shades = [shown(clip) for clip in load(LITE0, data, {}, LIMITS)]
    assert shades == sorted(shades)
    assert shades[-1] - shades[0] > 14


def test_other_codecs_in_an_allowed_container_are_refused_by_name(make):
    data = make.video(make.grey_frames(4), codec="ffv1", kind="matroska", rate=25)
    with pytest.raises(InvalidMedia, match="it holds ffv1"):
        load(LITE0, data, {}, LIMITS)


def test_clips_take_first_and_last_frame_of_two_seconds():
    assert clip_frames(209, 30.0) == [0, 59, 38, 97, 75, 134, 112, 171, 149, 208]
    assert clip_frames(1, 30.0) == [0, 0] * 5
    assert clip_frames(3, 0.4)[-1] == 2


def test_one_frame_is_a_video(make):
    data = make.video(make.grey_frames(1))
    assert load(IMAGEBIND, data, {}, LIMITS).shape == (15, 3, 2, 224, 224)
    assert load(LITE0, data, {}, LIMITS).shape == (8, 3, 224, 224)


def test_crops_follow_the_longer_side(make):
    ramp = np.repeat(np.linspace(0, 255, 128).astype(np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    left, centre, right = load(IMAGEBIND, make.video([ramp] * 4), {}, LIMITS)[:3].mean(axis=(1, 2, 3, 4))
    assert left < centre < right
    top, middle, bottom = load(IMAGEBIND, make.video([ramp.transpose(1, 0, 2)] * 4), {}, LIMITS)[:3].mean(
        axis=(1, 2, 3, 4)
    )
    assert top < middle < bottom


def test_frames_pixels_and_seconds_are_bounded(make):
    data = make.video(make.grey_frames(30), rate=10, kind="avi")
    for limits, message in (
        (Limits(frames=29), "30 frames; the limit is 29"),
        (Limits(seconds=2.8), "seconds; the limit is 2.80"),
        (Limits(video_pixels=3071), "3072 pixels; the limit is 3071"),
        (Limits(frame_pixels=64 * 48 * 7), "pixels over the frames to decode"),
    ):
        with pytest.raises(InvalidMedia, match=message):
            load(LITE0, data, {}, limits)
    exact = Limits(frames=30, seconds=3.0, video_pixels=64 * 48, frame_pixels=64 * 48 * 30)
    assert load(LITE0, data, {}, exact).shape == (8, 3, 224, 224)


def test_frames_between_the_wanted_ones_cost_nothing_where_there_are_key_frames(make):
    data = make.video(make.grey_frames(32) * 10, rate=10)
    assert load(LITE0, data, {}, Limits(frame_pixels=64 * 48 * 120)).shape == (8, 3, 224, 224)
    assert np.array_equal(
        load(IMAGEBIND, data, {}, Limits(frame_pixels=64 * 48 * 120)), load(IMAGEBIND, data, {}, LIMITS)
    )
    with pytest.raises(InvalidMedia, match="pixels over"):
        load(IMAGEBIND, data, {}, Limits(frame_pixels=64 * 48 * 8))


@pytest.mark.parametrize("kind", ["mp4", "matroska", "avi"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_video_is_refused_or_shows_what_is_left(make, kind, share):
    data = make.video(make.grey_frames(20), kind=kind)
    try:
        clips = load(LITE0, data[: int(len(data) * share)], {}, LIMITS)
    except InvalidMedia:
        return
    assert clips.shape == (8, 3, 224, 224)
    assert [shown(clip) for clip in clips] == sorted(shown(clip) for clip in clips)


@pytest.mark.parametrize("head", [b"", b"\0\0\0\x18ftypmp42"])
@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{uri}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{uri}'\n",
        '<?xml version="1.0"?><MPD><Period><BaseURL>{uri}</BaseURL></Period></MPD>',
    ],
)
def test_a_playlist_reads_nothing(make, tmp_path, head, playlist):
    real = tmp_path / "real.mp4"
    real.write_bytes(make.video(make.grey_frames(8)))
    for uri in (f"file://{real}", str(real)):
        with pytest.raises(InvalidMedia):
            load(LITE0, head + playlist.format(uri=uri).encode(), {}, LIMITS)


def test_a_cover_picture_is_no_video(make):
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in [*cover.encode(av.VideoFrame(32, 32, "yuvj420p")), *cover.encode(None)]:
            container.mux(packet)
    with pytest.raises(InvalidMedia):
        load(LITE0, out.getvalue(), {}, LIMITS)


def test_a_sound_is_no_video(make):
    with pytest.raises(InvalidMedia, match="no video"):
        load(LITE0, make.m4a(make.tone()), {}, LIMITS)


def test_only_the_window_of_a_resize_is_computed():
    needle = np.arange(1_000_000, dtype=np.float32).reshape(1, -1)
    scaled = short_side(1, 1_000_000, 224)
    tracemalloc.start()
    window = resize_crop(needle, scaled, 0, scaled[1] - 224, 224)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20
    assert window.shape == (224, 224)
    assert window[0, -1] == pytest.approx(999_999)
