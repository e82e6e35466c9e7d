"""36 s of 4K30, as a phone films it, within the service's own limits: the frames between the wanted are not decoded."""

import io
from functools import cache

import av
import numpy as np
import pytest

from pandagpt_core.media import Limits, load

WIDTH, HEIGHT, RATE, FRAMES, GROUP = 3840, 2160, 30, 36 * 30, 10
GREYS = (60, 190)  # of the groups of ten frames in turn


@cache
def packets() -> list[av.Packet]:
    """Two groups, of a key frame and nine that look back: coding 1,080 frames of this size would take minutes."""
    with av.open(io.BytesIO(), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", GROUP
        stream.thread_count = 1
        stream.options = {"preset": "ultrafast", "x264-params": f"bframes=0:keyint={GROUP}:scenecut=0"}
        made = []
        for grey in GREYS:
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), grey, np.uint8)).reformat(format="yuv420p")
            for _ in range(GROUP):
                frame.pts = None
                made += stream.encode(frame)
        return [*made, *stream.encode(None)]


def film() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(FRAMES):
            old = packets()[index % (GROUP * len(GREYS))]
            packet = av.Packet(bytes(old))
            packet.stream, packet.time_base, packet.is_keyframe = stream, old.time_base, old.is_keyframe
            packet.duration = round(1 / RATE / old.time_base)
            packet.pts = packet.dts = index * packet.duration
            container.mux(packet)
    return out.getvalue()


def test_a_transport_stream_of_36_seconds_of_4k_is_read():
    data, limits = film(), Limits()
    assert limits.frame_pixels < WIDTH * HEIGHT * FRAMES, "all frames in order would be refused"
    clips = load("lite0-video-v1", data, {}, limits)
    shown = [float(clip.mean()) * 128 + 127 for clip in clips]
    wanted = [GREYS[(2 * index + 1) * FRAMES // 16 // GROUP % 2] for index in range(8)]
    assert shown == pytest.approx(wanted, abs=2)
    assert load("imagebind-video-v1", data, {}, limits).shape == (15, 3, 2, 224, 224)
