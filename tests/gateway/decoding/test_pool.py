"""The pool of confined children: right arrays, refusals in words, and a crash or hang costs one medium."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pandagpt_core import media
from pandagpt_core.media import samples
from service.gateway.decoding.pool import DecodePool, PoolOptions, child_command
from service.gateway.errors import GatewayError
from tests.gateway.decoding.children import SLOW_OR_LIVE, scripted
from tests.security.beside import HELD_S, watched

LIMITS = media.Limits()
MEMORY = 1536 << 20
REAL = PoolOptions(child_command(MEMORY, LIMITS), processes=1)


@pytest.fixture
async def pool() -> AsyncIterator[DecodePool]:
    pool = DecodePool(REAL)
    await pool.start()
    yield pool
    await pool.close()


async def refused(pool: DecodePool, recipe: str, data: bytes, **params: float | str) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await pool.decode(recipe, data, params)
    return caught.value


async def test_children_are_confined_and_say_how(pool: DecodePool) -> None:
    await pool.decode("imagebind-image-v1", samples.picture("PNG"), {})
    assert {"memory", "files", "descriptors", "python"} <= set(pool.enforced)
    if sys.platform == "linux":
        assert {"privileges", "syscalls"} <= set(pool.enforced)


async def test_an_array_is_what_the_recipe_gives_in_this_process(pool: DecodePool) -> None:
    data = samples.picture("JPEG")
    there = await pool.decode("imagebind-image-v1", data, {})
    here = media.load("imagebind-image-v1", data, {}, LIMITS)
    assert there.dtype == here.dtype
    np.testing.assert_array_equal(there, here)


async def test_every_kind_of_real_medium_decodes_behind_the_lock(pool: DecodePool, golden: Path) -> None:
    folder = golden / "preprocessing" / "media"
    recipes = {".jpg": "imagebind-image-v1", ".png": "imagebind-image-v1", ".wav": "imagebind-audio-v1"}
    recipes |= {".mp4": "imagebind-video-v1", ".flac": "imagebind-audio-v1", ".ogg": "imagebind-audio-v1"}
    files = [file for file in sorted(folder.iterdir()) if file.suffix in recipes and file.stat().st_size < 3_000_000]
    assert {file.suffix for file in files} >= {".jpg", ".png", ".wav", ".mp4"}
    for file in files:
        array = await pool.decode(recipes[file.suffix], file.read_bytes(), {})
        assert np.isfinite(array).all()
    imu = await pool.decode("imu-v1", samples.npy(np.ones((400, 6), np.float32)), {"rate_hz": 200.0})
    assert imu.shape == (1, 6, 2000)
    text = await pool.decode("clip-bpe-v1", "a dog 🐕".encode(), {})
    assert text.shape == (1, 77)
    assert text.dtype == np.int64


async def test_a_picture_is_measured_and_drawn_on_behind_the_lock(pool: DecodePool) -> None:
    data = samples.picture("JPEG")
    assert (await pool.decode("picture-size-v1", data, {})).tolist() == [8, 8]
    png = await pool.decode(
        "annotated-picture-v1", data, {"objects": '[["a dog", [0.1, 0.2, 0.9, 0.8]], [null, [0, 0, 1, 1]]]'}
    )
    assert png.tobytes().startswith(b"\x89PNG")


async def test_a_refusal_names_the_parameter_and_the_child_lives_on(pool: DecodePool) -> None:
    error = await refused(pool, "depth-sunrgbd-v1", samples.npy(np.ones((8, 8), np.float32)), unit="m")
    assert (error.code, error.param) == ("invalid_media", "focal_px")
    assert (await refused(pool, "imagebind-image-v1", b"not a picture")).code == "invalid_media"
    assert (await pool.decode("imagebind-image-v1", samples.picture("PNG"), {})).shape == (1, 3, 224, 224)


async def test_a_decoder_that_dies_costs_one_medium() -> None:
    pool = DecodePool(
        scripted("""
        if data == b"die":
            os._exit(1)
        send(sink, Decoded(dtype="<f4", shape=[1], size=4), b"\\0\\0\\x80?")
        """)
    )
    await pool.start()
    assert (await refused(pool, "r", b"die")).code == "invalid_media"
    assert (await pool.decode("r", b"live", {})).tolist() == [1.0]
    await pool.close()


async def test_a_pool_closes_while_an_answer_is_waited_for() -> None:
    pool = DecodePool(scripted("time.sleep(600)"))
    await pool.start()
    waiting = asyncio.create_task(pool.decode("r", b"x", {}))
    while not any(child.jobs for child in pool._children):
        await asyncio.sleep(0.01)
    await pool.close()
    with pytest.raises(GatewayError, match="stopped"):
        await waiting


async def test_a_decoder_that_hangs_is_killed_at_its_wall_time() -> None:
    pool = DecodePool(
        scripted(
            """
        if data == b"hang":
            time.sleep(60)
        send(sink, Decoded(dtype="<f4", shape=[1], size=4), b"\\0\\0\\x80?")
        """,
            wall_s=1.0,
        )
    )
    await pool.start()
    error = await refused(pool, "r", b"hang")
    assert "1 s" in error.message
    assert (await pool.decode("r", b"live", {})).tolist() == [1.0]
    await pool.close()


@pytest.mark.parametrize(
    "answer",
    [
        'Decoded(dtype="<f4", shape=[1 << 40, 1 << 40], size=4), b"1234"',
        'Decoded(dtype="|O8", shape=[1], size=8), b"12345678"',
        'Decoded(dtype="<f4", shape=[-1, -1], size=4), b"1234"',
        'Decoded(dtype="<f4", shape=[1 << 30], size=4 << 30), b"1234"',
        'DecoderReady(enforced=["twice"])',
    ],
)
async def test_what_a_captured_child_says_is_not_believed(answer: str) -> None:
    pool = DecodePool(scripted(f"send(sink, {answer})"))
    await pool.start()
    assert (await refused(pool, "r", b"x")).code == "invalid_media"
    await pool.close()


async def test_bytes_that_are_no_frame_are_not_believed() -> None:
    pool = DecodePool(scripted('sink.write(b"\\xff" * 100); sink.flush()'))
    await pool.start()
    assert (await refused(pool, "r", b"x")).code == "invalid_media"
    await pool.close()


async def test_more_media_than_may_wait_are_turned_away() -> None:
    pool = DecodePool(
        scripted("time.sleep(0.5); send(sink, Refused(code='invalid_media', message='no'))", max_waiting=2)
    )
    await pool.start()
    results = await asyncio.gather(*[pool.decode("r", b"x", {}) for _ in range(6)], return_exceptions=True)
    codes = sorted(result.code for result in results if isinstance(result, GatewayError))
    assert codes == ["invalid_media"] * 2 + ["overloaded"] * 4
    await pool.close()


async def test_a_caller_who_leaves_takes_the_child_along_and_the_next_is_served() -> None:
    pool = DecodePool(scripted(SLOW_OR_LIVE))
    await pool.start()
    await pool.decode("r", b"first", {})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pool.decode("r", b"slow", {}), 0.2)
    assert (await pool.decode("r", b"live", {})).tolist() == [1.0]
    await pool.close()


async def test_memory_beyond_the_limit_is_a_refusal() -> None:
    limits = replace(LIMITS, elements=1 << 40, bytes=1 << 40)
    pool = DecodePool(PoolOptions(child_command(700 << 20, limits), processes=1))
    await pool.start()
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (30000, 30000), }"
    big = header.ljust(127) + b"\n" + bytes(1 << 20)
    assert (await refused(pool, "imu-v1", big, rate_hz=50.0)).code == "invalid_media"
    assert (await pool.decode("imagebind-image-v1", samples.picture("PNG"), {})).shape == (1, 3, 224, 224)
    await pool.close()


async def test_the_event_loop_runs_on_while_a_large_medium_passes(pool: DecodePool) -> None:
    await pool.decode("clip-bpe-v1", b"warm", {})
    stalls = []
    for _ in range(3):  # a fault holds the loop each time; a busy machine does not
        async with watched() as watch:
            assert (await refused(pool, "imagebind-image-v1", bytes(60 << 20))).code == "invalid_media"
        stalls.append(watch.stall)
    assert min(stalls) < HELD_S


async def test_a_medium_given_up_as_its_turn_comes_leaves_the_child_free() -> None:
    pool = DecodePool(scripted(SLOW_OR_LIVE))
    await pool.start()
    try:
        assert (await pool.decode("r", b"live", {})).tolist() == [1.0]
        for _ in range(3):
            task = asyncio.create_task(pool.decode("r", b"live", {}))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert (await pool.decode("r", b"live", {})).tolist() == [1.0]
    finally:
        await pool.close()
