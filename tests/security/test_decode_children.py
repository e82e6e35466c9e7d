"""Threat: decoder overflow, hostile container (FFmpeg CVE-2026-8461, CVE-2026-40962; HLS and concat playlists).

Measures: media are decoded in a child with limits of memory, processor, time, descriptors and output, without network
and without files; demuxers and codecs on allow-lists; floors on the versions of FFmpeg's libraries; what a child loses
costs one request.
"""

import asyncio
import contextlib
import io
import os
import platform
import socket
import sys
import textwrap
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import trimesh

from pandagpt_core import media
from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import samples
from pandagpt_core.media.clouds import samples as clouds
from pandagpt_core.media.containers import AUDIO_CODECS, VIDEO_CODECS, sniff
from pandagpt_core.media.scientific import samples as scientific
from service.gateway.decoding.pool import DecodePool, DecodePools, PoolOptions, child_command
from service.gateway.decoding.sandbox import LAYERS
from service.gateway.errors import GatewayError
from tests.media.conftest import Make

LIMITS = media.Limits()
linux = pytest.mark.skipif(sys.platform != "linux", reason="seccomp and resident limits are Linux's")

# Libraries of FFmpeg 8.1: CVE-2026-40962 is fixed there. CVE-2026-8461 is MagicYUV's, which no list of ours allows.
FLOORS: Mapping[str, tuple[int, int]] = {
    "libavutil": (60, 26),
    "libavcodec": (62, 28),
    "libavformat": (62, 12),
    "libswscale": (9, 5),
    "libswresample": (6, 3),
}


def test_the_bundled_libraries_are_not_older_than_the_fixes() -> None:
    found = av.library_versions
    for library, floor in FLOORS.items():
        assert found[library][:2] >= floor, f"{library} is {found[library]}"


def test_the_lists_hold_what_we_mean_to_decode_and_not_what_had_holes() -> None:
    assert {"h264", "hevc", "vp9", "av1"} <= VIDEO_CODECS
    assert not {"magicyuv", "rasc", "tiff", "exr", "ansi", "subrip", "hls"} & (VIDEO_CODECS | AUDIO_CODECS)


# Containers


@pytest.mark.parametrize(
    ("codec", "kind"), [("magicyuv", "avi"), ("ffv1", "avi"), ("ffv1", "matroska"), ("huffyuv", "avi")]
)
def test_a_codec_that_is_not_on_the_list_is_refused(make: Make, codec: str, kind: str) -> None:
    formats = {"magicyuv": "yuv444p", "ffv1": "yuv420p", "huffyuv": "yuv422p"}

    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, formats[codec]
        for frame in make.grey_frames(3):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=formats[codec]))
            )
        container.mux(stream.encode(None))
    assert sniff(out.getvalue()) == ("avi" if kind == "avi" else "matroska")
    with pytest.raises(InvalidMedia):
        media.load("lite0-video-v1", out.getvalue(), {}, LIMITS)


def playlists(secret: Path, port: int) -> dict[str, bytes]:
    """Of a file, and of a server on loopback."""
    path, url = str(secret).encode(), b"http://127.0.0.1:%d/x.ts" % port
    return {
        "hls by http": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + url + b"\n#EXT-X-ENDLIST\n",
        "concat by http": b"ffconcat version 1.0\nfile " + url + b"\n",
        "hls by tcp": b"#EXTM3U\n#EXTINF:1,\ntcp://127.0.0.1:%d\n" % port,
        "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + path + b"\n#EXT-X-ENDLIST\n",
        "hls by file protocol": b"#EXTM3U\n#EXTINF:1,\nfile://" + path + b"\n",
        "hls by concat": b"#EXTM3U\n#EXTINF:1,\nconcat:" + path + b"|" + path + b"\n",
        "concat": b"ffconcat version 1.0\nfile " + path + b"\n",
        "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>'
        + path
        + b"</BaseURL></MPD>",
        "subtitle": b"[playlist]\nFile1=" + path + b"\n",
        "sdp": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
        "hls behind mp4's first box": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom#EXTM3U\n#EXTINF:1,\n" + path + b"\n",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="' + path + b'"/></svg>',
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n(" + path + b") (r) file\n",
    }


@pytest.mark.parametrize("recipe", ["imagebind-video-v1", "lite0-video-v1", "imagebind-audio-v1", "imagebind-image-v1"])
def test_a_playlist_named_mp4_reads_nothing(make: Make, tmp_path: Path, recipe: str) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(make.video(make.grey_frames(4)))
    os.utime(secret, (1_000_000_000, 1_000_000_000))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        for data in playlists(secret, server.getsockname()[1]).values():
            with pytest.raises(InvalidMedia):
                media.load(recipe, data, {}, LIMITS)
        with pytest.raises(BlockingIOError):
            server.accept()  # nobody came
    assert secret.stat().st_atime <= 1_000_000_000 + 1, "read by FFmpeg, where the file system notes it"


def test_a_mov_that_refers_to_another_file_does_not_get_it(make: Make, tmp_path: Path) -> None:
    """QuickTime's data reference atoms may name files; demuxing is within the bytes at hand."""
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(make.video(make.grey_frames(4)))
    film = make.video(make.grey_frames(4), kind="mov")
    assert b"url " in film
    alias = film.replace(b"url \x00\x00\x00\x01", b"url \x00\x00\x00\x00")
    for data in (alias, film.replace(b"url ", b"alis")):
        try:
            array = media.load("lite0-video-v1", data, {}, LIMITS)
        except InvalidMedia:
            continue
        assert array.shape == (8, 3, 224, 224)


# Inside a real child

PROBE = """
import ctypes, os, socket, subprocess, threading
from pandagpt_core import media
from service.gateway.decoding import sandbox
from service.gateway.decoding.protocol import Refused, DecoderReady
from service.gateway.decoding.child import _read, _receive, _take_pipes, send
entered = sandbox.enter({})
source, sink = _take_pipes()
libc = ctypes.CDLL(None)
native = {name: getattr(libc, name) for name in "socket open".split()}  # looking one up later is refused by itself
send(sink, DecoderReady(enforced=sandbox.lock_down(1536 << 20, entered)))
def thread():
    done = []
    worker = threading.Thread(target=lambda: done.append(1))
    worker.start()
    worker.join()
    return "a thread" if done else "no thread"
def python(call):
    try:
        call()
    except (ImportError, LookupError, OSError, MemoryError, RuntimeError) as error:
        return "refused"
    return "got it"
PROBES = {
    b"socket": lambda: python(lambda: socket.socket()),
    b"resolve": lambda: python(lambda: socket.getaddrinfo("example.com", 80)),
    b"open": lambda: python(lambda: open("/etc/passwd")),
    b"write": lambda: python(lambda: open("/tmp/x", "wb")),
    b"list": lambda: python(lambda: os.listdir("/")),
    b"unlink": lambda: python(lambda: os.unlink("/tmp/x")),
    b"fork": lambda: python(lambda: os.fork()),
    b"exec": lambda: python(lambda: os.execv("/bin/true", ["true"])),
    b"process": lambda: python(lambda: subprocess.run(["/bin/true"])),
    b"kill": lambda: python(lambda: os.kill(1, 0)),
    b"ctypes": lambda: python(lambda: ctypes.CDLL(None).getpid()),
    b"import": lambda: python(lambda: __import__("wsgiref")),
    b"memory": lambda: python(lambda: bytearray(4 << 30)),
    b"thread": thread,
    b"native open": lambda: "refused" if native["open"](b"/etc/passwd", 0) == -1 else "got it",
    b"native socket": lambda: str(native["socket"](2, 1, 0)),
}
while (job := _receive(source)) is not None:
    data = _read(source, job.size)
    send(sink, Refused(code="invalid_media", message=PROBES[data]()))
"""
TRIES = ["socket", "resolve", "open", "write", "list", "unlink", "fork", "exec", "process", "kill", "ctypes", "import"]
TRIES += ["memory", "native open"]


@linux
async def test_a_locked_child_refuses_python_code_and_dies_of_native_code(caplog: pytest.LogCaptureFixture) -> None:
    """The calls of native code one by one: test_sandbox_calls."""
    pool = DecodePool(PoolOptions([sys.executable, "-c", textwrap.dedent(PROBE)], processes=1, recycle=1000))
    await pool.start()
    try:
        for what in TRIES:
            assert await _answer(pool, what) == "refused", what
        assert await _answer(pool, "thread") == "a thread"
        assert "stopped" in await _answer(pool, "native socket")
        assert await _answer(pool, "open") == "refused"
    finally:
        await pool.close()
    assert "killed for a system call" in caplog.text


async def _answer(pool: DecodePool, what: str) -> str:
    with pytest.raises(GatewayError) as caught:
        await pool.decode("r", what.encode(), {})
    return caught.value.message


# Formats that a recipe decodes: of the samples, and of the media of the shared cases where those are at hand.
SAMPLED = {
    "imagebind-image-v1": ".png",
    "imagebind-video-v1": ".mp4",
    "imagebind-audio-v1": ".flac",
    "depth-sunrgbd-v1": ".png",
    "imagebind-thermal-v1": ".png",
    "imu-v1": ".csv",
    "clip-bpe-v1": ".txt",
    "points-8192-v1": ".ply",
}
# Made here: files that only large libraries read, by their names below.
MADE = {
    "imu-v1": "parquet mat h5",
    "depth-sunrgbd-v1": "mat h5",
    "points-8192-v1": "glb las laz",
}
SHARED = {
    "imagebind-image-v1": ".png .jpg .gif .webp .heic .tif",
    "imagebind-video-v1": ".mp4 .mov .mpg .ts .gif .webp",
    "imagebind-audio-v1": ".flac .aac .aiff .mp3 .mp4 .wav",
    "depth-sunrgbd-v1": ".png .tif .exr .npy .npz",
    "imu-v1": ".csv .json",
}


def large_media() -> list[tuple[str, bytes]]:
    """Scientific files, a mesh and scans, larger than those that warm a child up: a library may take other ways."""
    axes = np.sin(np.arange(3000 * 6, dtype=np.float64)).reshape(3000, 6)
    names = [f"{sensor}_{axis}" for sensor in ("accel", "gyro") for axis in "xyz"]
    recording = {"accelerometer": axes[:, :3], "gyroscope": axes[:, 3:]}
    depth = {"depth": np.add.outer(np.linspace(1, 4, 300), np.linspace(0, 2, 400))}
    mesh = trimesh.creation.icosphere(subdivisions=4)
    return [
        ("parquet", scientific.parquet(dict(zip(names, axes.T, strict=True)), compression="zstd")),
        *(("mat", scientific.matlab(arrays)) for arrays in (recording, depth)),
        *(("h5", scientific.hdf(arrays, packed=True)) for arrays in (recording, depth)),
        ("glb", mesh.export(file_type="glb")),
        ("las", clouds.scan(mesh.vertices, packed=False)),
        ("laz", clouds.scan(mesh.vertices, packed=True)),
    ]


async def decoded(files: Iterable[tuple[str, bytes]]) -> set[tuple[str, str]]:
    """Pairs of a recipe and a file that it took, by its format's name. Every recipe gets each, fitting or not."""
    params = {"imu": {"rate_hz": 50.0}, "depth": {"unit": "m", "focal_px": 500.0, "baseline_m": 0.1}}
    pool = DecodePools(PoolOptions(child_command(1536 << 20, LIMITS), processes=1, recycle=10_000))
    await pool.start()
    taken: set[tuple[str, str]] = set()
    try:
        for kind, data in files:
            for recipe in media.RECIPES:
                with contextlib.suppress(GatewayError):
                    given = next((given for name, given in params.items() if name in recipe), {})
                    await pool.decode(recipe, data, given)
                    taken.add((recipe, kind))
    finally:
        await pool.close()
    return taken


def pairs(kinds: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(recipe, kind) for recipe, named in kinds.items() for kind in named.split()}


@linux
async def test_every_medium_at_hand_passes_the_lock(caplog: pytest.LogCaptureFixture) -> None:
    """No decoder needs a system call that is not on the list."""
    folders = [Path(__file__).parents[2] / "samples", Path(__file__).parents[3] / "shared" / "cases" / "media"]
    files = [file for folder in folders if folder.is_dir() for file in sorted(folder.iterdir())]
    taken = await decoded((file.suffix, file.read_bytes()) for file in files)
    assert not pairs(SAMPLED if not folders[1].is_dir() else SAMPLED | SHARED) - taken
    assert "a decoding child was lost" not in caplog.text


@linux
async def test_what_large_libraries_read_passes_the_lock(caplog: pytest.LogCaptureFixture) -> None:
    assert not pairs(MADE) - await decoded(large_media())
    assert "a decoding child was lost" not in caplog.text


WITHOUT = """
import sys
from service.gateway.decoding.child import main
from service.gateway.decoding.sandbox import libc
from tests.security.missing_calls import refuse
refuse({numbers})
sys.exit(main({arguments}))
"""


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="numbers of x86-64's Linux")
@pytest.mark.parametrize(
    ("numbers", "layers"),
    [
        ((317,), {"syscalls"}),
        ((444,), {"landlock"}),
        ((272,), {"namespaces", "root"}),
        ((317, 444, 445, 446, 272, 126, 125), {"syscalls", "landlock", "namespaces", "root", "capabilities"}),
    ],
)
async def test_media_are_decoded_where_the_kernel_lacks_a_layer(
    numbers: tuple[int, ...], layers: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A container's own filter or an old kernel answers ENOSYS. The gateway names the missing layers once."""
    code = WITHOUT.format(numbers=numbers, arguments=child_command(1536 << 20, LIMITS)[-2:])
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"]
    pool = DecodePool(PoolOptions(command, processes=2))
    await pool.start()
    try:
        both = [pool.decode("imagebind-image-v1", samples.picture("PNG"), {}) for _ in range(2)]
        assert {array.shape for array in await asyncio.gather(*both)} == {(1, 3, 224, 224)}
        assert layers == set(LAYERS) - set(pool.enforced) - {"user", "threads"}
    finally:
        await pool.close()
    lines = [one for one in caplog.records if "lacks a layer of the decoding sandbox" in one.getMessage()]
    assert {one.names for one in lines} == set(LAYERS) - set(pool.enforced)
    assert len({one.names for one in lines}) == len(lines), "each once"
    reasons = {one.names: one.reason for one in lines}
    assert all("Function not implemented" in reasons[layer] for layer in layers - {"root"})


def scripted(body: str, **options: float) -> PoolOptions:
    """Children that lock themselves as real ones do and then run `body` for every job."""
    head = """
        import os, signal, sys, time
        from service.gateway.decoding import sandbox
        from service.gateway.decoding.child import _read, _receive, _take_pipes, send
        from service.gateway.decoding.protocol import *
        source, sink = _take_pipes()
        send(sink, DecoderReady(enforced=sandbox.lock_down(1 << 30)))
        while (job := _receive(source)) is not None:
            data = _read(source, job.size)
            sandbox.arm(job.cpu_s)
            if data == b"live":
                send(sink, Decoded(dtype="<f4", shape=[1], size=4), b"\\0\\0\\x80?")
                continue
    """
    code = textwrap.dedent(head) + textwrap.indent(textwrap.dedent(body), " " * 4)
    return replace(PoolOptions([sys.executable, "-c", code], processes=2), **options)  # type: ignore[arg-type]


LOSSES = {
    "a crash": "os.kill(os.getpid(), signal.SIGSEGV) if False else os.abort()",
    "an exit": "os._exit(0)",
    "endless work": "while True: pass",
    "endless sleep": "time.sleep(60)",
    "endless output": "while True: sink.write(bytes(1 << 16))",
    "an array too large": "send(sink, Decoded(dtype='<f4', shape=[1 << 28], size=1 << 30))",
    "all memory": "hoard = [bytearray(1 << 26) for _ in range(1000)]",
}


@linux
@pytest.mark.parametrize("what", list(LOSSES))
async def test_a_lost_child_costs_one_medium_and_the_pool_refills(what: str) -> None:
    pool = DecodePool(scripted(LOSSES[what], cpu_s=0.3, wall_s=1.0))
    await pool.start()
    try:
        await pool.decode("r", b"live", {})
        results = await asyncio.gather(
            pool.decode("r", b"hostile", {}), *[pool.decode("r", b"live", {}) for _ in range(6)], return_exceptions=True
        )
        assert isinstance(results[0], GatewayError)
        assert results[0].code == "invalid_media"
        assert [array.tolist() for array in results[1:]] == [[1.0]] * 6
        for _ in range(3):
            both = await asyncio.gather(pool.decode("r", b"live", {}), pool.decode("r", b"live", {}))
            assert [array.tolist() for array in both] == [[1.0], [1.0]]
    finally:
        await pool.close()


@pytest.fixture
async def small_pool() -> AsyncIterator[DecodePool]:
    """One real child of 400 MiB address space more than it needs when idle, and little processor time."""
    pool = DecodePool(PoolOptions(child_command(1 << 30, LIMITS), processes=1, cpu_s=5.0, wall_s=20.0))
    await pool.start()
    yield pool
    await pool.close()


async def test_a_bomb_ends_in_a_refusal_and_the_next_medium_is_decoded(small_pool: DecodePool, make: Make) -> None:
    bombs = [make.png_claiming(60_000, 60_000), make.png_claiming(2**31 - 1, 2**31 - 1), b"P6 40000 40000 255\n"]
    for bomb in bombs:
        with pytest.raises(GatewayError) as caught:
            await small_pool.decode("imagebind-image-v1", bomb, {})
        assert caught.value.code == "invalid_media"
    assert (await small_pool.decode("imagebind-image-v1", samples.picture("PNG"), {})).shape == (1, 3, 224, 224)
