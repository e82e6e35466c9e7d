"""Threat: frames, pixels, samples unbounded (vLLM CVE-2026-5497, CVE-2026-54233).

Measures: the *decoded* size of every kind of medium is bounded, by limits that settings name; a child's memory stays
within its own, the gateway's does not grow.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load
from service.gateway.decoding.pool import DecodePool, PoolOptions, child_command
from service.gateway.errors import GatewayError
from service.settings import MediaLimits, Settings
from tests.media.conftest import Make

SMALL = Limits(
    bytes=400_000,
    table_bytes=20_000,
    pixels=1000,
    aspect=50,
    video_pixels=3000,
    frames=8,
    frame_pixels=3500,
    seconds=2.0,
    samples=20_000,
    channels=2,
    sample_rate=48_000,
    imu_rows=500,
    elements=4000,
    characters=100,
)


def beyond(make: Make) -> dict[str, tuple[str, bytes, dict[str, float | str], str]]:
    """Media that are too large: recipe, bytes, parameters, and the limit that must be named."""
    imu, rate = "imu-v1", {"rate_hz": 100.0}
    rows = "1,2,3,4,5,6\n"
    return {
        "bytes": ("imagebind-image-v1", bytes(400_001), {}, "400000"),
        "pixels": ("imagebind-image-v1", make.picture(40, 26), {}, "1000"),
        "pixels claimed": ("imagebind-image-v1", make.png_claiming(2**31 - 1, 2**31 - 1), {}, "1000"),
        "thermal pixels": ("imagebind-thermal-v1", make.picture(40, 26), {}, "1000"),
        "depth pixels": ("depth-sunrgbd-v1", make.grey16(np.ones((26, 40))), {"unit": "disparity"}, "1000"),
        "aspect": ("imagebind-image-v1", make.picture(1, 51), {}, "50"),
        "frames": ("lite0-video-v1", make.video(make.grey_frames(9, 32, 32)), {}, "8"),
        "frame size": ("lite0-video-v1", make.video(make.grey_frames(3, 64, 64)), {}, "3000"),
        "frames times pixels": ("imagebind-video-v1", make.video(make.grey_frames(8, 48, 48)), {}, "3500"),
        "seconds of video": ("lite0-video-v1", make.video(make.grey_frames(8, 32, 32), rate=2), {}, "2"),
        "seconds of sound": ("imagebind-audio-v1", make.sound(make.tone(2.5, 4000), 4000), {}, "2"),
        "samples": ("imagebind-audio-v1", make.sound(make.tone(1.3)), {}, "20000"),
        "samples of mp3": ("imagebind-audio-v1", make.sound(make.tone(1.5), kind="MP3"), {}, "20000"),
        "samples of m4a": ("imagebind-audio-v1", make.m4a(make.tone(1.5)), {}, "20000"),
        "channels": ("imagebind-audio-v1", make.sound(np.zeros((100, 3))), {}, "2"),
        "sample rate": ("imagebind-audio-v1", make.sound(make.tone(0.1, 96_000), 96_000), {}, "48000"),
        "imu rows": (imu, make.npy(np.zeros((501, 6))), rate, "500"),
        "imu rows of text": (imu, (rows * 600).encode(), rate, "502"),
        "imu rows of JSON": (imu, b"[" + b"[1,2,3,4,5,6]," * 600 + b"[1,2,3,4,5,6]]", rate, "500"),
        "table bytes": (imu, (rows * 2000).encode(), rate, "20000"),
        "elements": ("imagebind-thermal-v1", make.npy(np.zeros((80, 51), np.uint8)), {}, "4000"),
        "elements claimed": ("imagebind-thermal-v1", make.npy_claiming((2**40, 2**40)), {}, "4000"),
        "characters": ("clip-bpe-v1", b"x" * 101, {}, "100"),
    }


@pytest.mark.parametrize(
    "what",
    [
        *("bytes", "pixels", "pixels claimed", "thermal pixels", "depth pixels", "aspect", "frames", "frame size"),
        *("frames times pixels", "seconds of video", "seconds of sound", "samples", "samples of mp3", "samples of m4a"),
        *("channels", "sample rate", "imu rows", "imu rows of text", "imu rows of JSON", "table bytes", "elements"),
        *("elements claimed", "characters"),
    ],
)
def test_a_medium_too_large_when_decoded_is_refused_and_the_limit_named(make: Make, what: str) -> None:
    recipe, data, params, limit = beyond(make)[what]
    with pytest.raises(InvalidMedia) as caught:
        load(recipe, data, params, SMALL)
    assert re.search(rf"\b{limit}\b", caught.value.message), caught.value.message


def test_every_limit_is_a_setting_and_reaches_the_children() -> None:
    assert set(MediaLimits.model_fields) == set(Limits.__slots__)
    assert Limits(**Settings().media.model_dump()) == Limits()


@pytest.fixture
async def pool() -> AsyncIterator[DecodePool]:
    pool = DecodePool(PoolOptions(child_command(1536 << 20, Limits()), processes=1))
    await pool.start()
    yield pool
    await pool.close()


def peak(pid: int | str) -> int:
    """The most resident memory a process ever had, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
async def test_the_largest_media_stay_within_the_childs_memory_and_cost_little(pool: DecodePool, make: Make) -> None:
    await pool.decode("clip-bpe-v1", b"warm", {})
    children = list(pool._children)
    before = peak("self")
    largest = make.saved(Image.new("RGB", (8000, 5000)), compress_level=1)  # exactly 40 million pixels
    assert (await pool.decode("imagebind-image-v1", largest, {})).shape == (1, 3, 224, 224)
    for recipe, data, params in (
        ("imagebind-image-v1", make.png_claiming(8001, 5000), {}),
        ("imagebind-video-v1", make.video(make.grey_frames(2))[:-50], {}),
        ("imagebind-audio-v1", make.wav_claiming(2**32 - 1), {}),
        ("imu-v1", b"[" * 8_000_000, {"rate_hz": 100.0}),
        ("imagebind-thermal-v1", make.npy(np.zeros((4001, 4000), np.uint8)), {}),
    ):
        [outcome] = await asyncio.gather(pool.decode(recipe, data, params), return_exceptions=True)
        assert isinstance(outcome, np.ndarray) or (
            isinstance(outcome, GatewayError) and outcome.code == "invalid_media"
        )
    assert list(pool._children) == children, "the same children did all of it"
    assert all(peak(child._process.pid) < 900 << 20 for child in children)
    assert peak("self") - before < 400 << 20, "making the pictures here included"
