"""Hostile files of every format beside the common ones: cut short, with heads that lie, and bombs.

Each is refused in words or decoded, within the limits; `tests/security/test_decoded_size.py` holds what children cost.
"""

import io
import json
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import Imath
import numpy as np
import OpenEXR
import pytest
from PIL import Image

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load
from pandagpt_core.media.clouds import samples as clouds
from pandagpt_core.modalities import MODALITIES
from tests.media.conftest import Make
from tests.media.flir_file import radiometric

scientific = pytest.importorskip("pandagpt_core.media.scientific.samples", exc_type=ImportError)
MAKE, LIMITS = Make(), Limits()
ROWS = np.round(np.sin(np.arange(64 * 6).reshape(64, 6)), 4)
PARAMS: Mapping[str, dict[str, float | str]] = {
    "depth-sunrgbd-v1": {"unit": "relative"},
    "imu-v1": {"rate_hz": 50.0},
}
POINTS, DEPTH, IMU, IMAGE, AUDIO, VIDEO = (
    "points-8192-v1",
    "depth-sunrgbd-v1",
    "imu-v1",
    "lite0-image-v1",
    "mixed-audio-v1",
    "lite0-video-v1",
)


def exr() -> bytes:
    header = OpenEXR.Header(16, 12)
    header["channels"] = {"Z": Imath.Channel(Imath.PixelType(Imath.PixelType.FLOAT))}
    with tempfile.TemporaryDirectory() as folder:  # this interface writes to paths alone
        file = OpenEXR.OutputFile(f"{folder}/depth.exr", header)
        file.writePixels({"Z": np.linspace(1, 3, 192, dtype=np.float32).tobytes()})
        file.close()
        return Path(folder, "depth.exr").read_bytes()


def npz() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, depth=np.eye(8) + 1)
    return out.getvalue()


def pcd() -> bytes:
    head = "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 5\nHEIGHT 1\nPOINTS 5\nDATA binary\n"
    return head.encode() + clouds.CORNERS.astype("<f4").tobytes()


def amr() -> bytes:
    """Frames of 12.2 kbit/s, whose bits are of no matter."""
    return b"#!AMR\n" + (b"\x3c" + bytes(31)) * 60


def heic() -> bytes:
    """pi-heif only decodes: the case of a phone's file stands for it where it is at hand."""
    from tests.conftest import SHARED

    path = SHARED / "cases" / "media" / "iphone.heic"
    return path.read_bytes() if path.is_file() else b""


def film(codec: str, kind: str) -> Callable[[], bytes]:
    height, width = (144, 176) if codec == "h263" else (48, 64)
    return lambda: MAKE.video(MAKE.grey_frames(6, height, width), rate=25, codec=codec, kind=kind)


def sound(kind: str, subtype: str | None = None, rate: int = 16000) -> Callable[[], bytes]:
    return lambda: MAKE.sound(MAKE.tone(0.2, rate), rate, kind, subtype)


def ogg(codec: str, rate: int = 16000) -> Callable[[], bytes]:
    """Through FFmpeg: libsndfile writes no FLAC into Ogg."""
    return lambda: MAKE.m4a(MAKE.tone(0.3, rate), rate, codec, "ogg")


def moving(kind: str) -> Callable[[], bytes]:
    frames = [Image.fromarray(frame) for frame in MAKE.grey_frames(5)]
    return lambda: MAKE.saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


def recording(separator: str) -> bytes:
    names = separator.join(f"{sensor}_{axis}" for sensor in ("acc", "gyro") for axis in "xyz")
    return "\n".join([names, *(separator.join(map(str, row)) for row in ROWS)]).encode()


def _lists() -> tuple[bytes, bytes]:
    first, second = (json.dumps(part.tolist()).encode() for part in (ROWS[:, :3], ROWS[:, 3:]))
    return first, second


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for at, name in ((0, "Accelerometer"), (3, "Gyroscope")):
            file.writestr(f"{name}.csv", "x,y,z\n" + "\n".join(",".join(map(str, row[at : at + 3])) for row in ROWS))
    return out.getvalue()


FILES: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "JPEG": (IMAGE, lambda: MAKE.picture(kind="JPEG")),
    "PNG": (IMAGE, lambda: MAKE.picture(kind="PNG")),
    "WebP": (IMAGE, lambda: MAKE.picture(kind="WEBP")),
    "GIF": (IMAGE, lambda: MAKE.picture(mode="P", kind="GIF")),
    "BMP": (IMAGE, lambda: MAKE.picture(kind="BMP")),
    "TIFF": (IMAGE, lambda: MAKE.picture(kind="TIFF")),
    "AVIF": (IMAGE, lambda: MAKE.saved(Image.effect_noise((64, 48), 40).convert("RGB"), "AVIF")),
    "HEIC": (IMAGE, heic),
    "MP4": (VIDEO, film("mpeg4", "mp4")),
    "MOV": (VIDEO, film("libx264", "mov")),
    "3GP": (VIDEO, film("h263", "3gp")),
    "WebM": (VIDEO, film("libvpx", "webm")),
    "Matroska": (VIDEO, film("mpeg4", "matroska")),
    "AVI": (VIDEO, film("mjpeg", "avi")),
    "MPEG-TS": (VIDEO, film("mpeg2video", "mpegts")),
    "MPEG-PS": (VIDEO, film("mpeg1video", "mpeg")),
    "WMV": (VIDEO, film("wmv2", "asf")),
    "FLV": (VIDEO, film("flv", "flv")),
    "moving GIF": (VIDEO, moving("GIF")),
    "moving WebP": (VIDEO, moving("WEBP")),
    "moving PNG": (VIDEO, moving("PNG")),
    "WAV": (AUDIO, sound("WAV")),
    "WAV of ADPCM": (AUDIO, sound("WAV", "IMA_ADPCM")),
    "WAV of GSM": (AUDIO, sound("WAV", "GSM610", 8000)),
    "FLAC": (AUDIO, sound("FLAC")),
    "Vorbis": (AUDIO, sound("OGG", "VORBIS")),
    "Opus": (AUDIO, sound("OGG", "OPUS")),
    "FLAC in Ogg": (AUDIO, ogg("flac")),
    "MP3": (AUDIO, sound("MP3")),
    "M4A": (AUDIO, lambda: MAKE.m4a(MAKE.tone(0.3))),
    "AAC": (AUDIO, lambda: MAKE.m4a(MAKE.tone(0.3), kind="adts")),
    "AMR": (AUDIO, amr),
    "AIFF": (AUDIO, sound("AIFF")),
    "AU": (AUDIO, sound("AU")),
    "CAF": (AUDIO, sound("CAF")),
    "W64": (AUDIO, sound("W64")),
    "depth PNG": (DEPTH, lambda: MAKE.grey16(np.add.outer(np.arange(8), np.arange(8)) + 20)),
    "depth TIFF": (DEPTH, lambda: MAKE.grey16(np.add.outer(np.arange(8), np.arange(8)) + 20, "TIFF")),
    "NPY": (DEPTH, lambda: MAKE.npy(np.eye(8) + 1)),
    "NPZ": (DEPTH, npz),
    "EXR": (DEPTH, exr),
    "PFM": (DEPTH, lambda: b"Pf\n8 6\n-1.0\n" + np.linspace(1, 2, 48, dtype="<f4").tobytes()),
    "MATLAB": (DEPTH, lambda: scientific.matlab({"depth": np.eye(8) + 1})),
    "HDF5": (DEPTH, lambda: scientific.hdf({"depth": np.eye(8) + 1}, packed=True)),
    "FLIR": ("shown-thermal-v1", lambda: radiometric(np.add.outer(np.arange(20.0), np.arange(30.0)) + 10)),
    "CSV": (IMU, lambda: recording(",")),
    "TSV": (IMU, lambda: recording("\t")),
    "text": (IMU, lambda: recording(" ")),
    "JSON": (IMU, lambda: b'{"accelerometer": %b, "gyroscope": %b}' % _lists()),
    "JSON lines": (
        IMU,
        lambda: b"\n".join(b'{"ax": 1, "ay": %d, "az": 2, "gx": 0, "gy": 1, "gz": 3}' % n for n in range(40)),
    ),
    "zip": (IMU, archive),
    "Parquet": (IMU, lambda: scientific.parquet({f"a{axis}": column for axis, column in enumerate(ROWS.T)})),
    "GLB": (POINTS, lambda: clouds.files()[0]),
    "OBJ": (POINTS, lambda: clouds.files()[1]),
    "PLY": (POINTS, lambda: clouds.files()[2]),
    "XYZ": (POINTS, lambda: "\n".join(" ".join(map(str, row)) for row in clouds.CORNERS).encode()),
    "LAS": (POINTS, lambda: clouds.scan(clouds.CORNERS, False)),
    "LAZ": (POINTS, lambda: clouds.scan(clouds.CORNERS, True)),
    "PCD": (POINTS, pcd),
}
UNWRITTEN = {".ogv", ".spx"}  # no encoder of Theora and Speex is at hand; Ogg has other entries
# The suffixes of the registry that an entry stands for.
SUFFIXES: Mapping[str, str] = {
    "JPEG": ".jpg .jpeg",
    "TIFF": ".tif .tiff",
    "HEIC": ".heic .heif",
    "Matroska": ".mkv",
    "MPEG-TS": ".ts .m2ts",
    "MPEG-PS": ".mpg .mpeg",
    "Vorbis": ".ogg",
    "AIFF": ".aif .aiff",
    "MATLAB": ".mat",
    "HDF5": ".h5 .hdf5",
    "text": ".txt",
    "JSON lines": ".jsonl",
}


each = pytest.mark.parametrize("kind", FILES)


def made(kind: str) -> tuple[str, bytes]:
    recipe, make = FILES[kind]
    data = make()
    if not data:
        pytest.skip("the shared cases are not at hand")
    return recipe, data


def answer(recipe: str, data: bytes, limits: Limits = LIMITS) -> str:
    """Empty where it is decoded, else the refusal's words, which hold nothing of a library or the machine."""
    words = ""
    try:
        array = load(recipe, data, PARAMS.get(recipe, {}), limits)
    except InvalidMedia as refused:
        words = refused.message
    else:
        assert np.isfinite(array).all()
    assert len(words) < 300
    assert not re.search(r"0x|/work|/home|\\|Errno|object at|Traceback", words)
    return words


def test_every_suffix_of_the_registry_has_a_hostile_file() -> None:
    known = {suffix for entry in MODALITIES.values() for suffix in (*entry.mime, *entry.named)}
    covered = {suffix for kind in FILES for suffix in SUFFIXES.get(kind, f".{kind.lower()}").split()}
    assert known - covered == UNWRITTEN


@each
def test_the_whole_file_is_read(kind: str) -> None:
    assert answer(*made(kind)) == ""


@each
def test_a_file_cut_at_any_place_is_refused_or_decoded(kind: str) -> None:
    recipe, data = made(kind)
    for end in np.linspace(1, len(data) - 1, 12).astype(int):
        answer(recipe, data[:end])
    assert answer(recipe, data[:8]), "eight bytes hold no medium"


@each
def test_a_file_with_bytes_flipped_is_refused_or_decoded(kind: str) -> None:
    recipe, data = made(kind)
    chance = np.random.default_rng(0)
    for share in (0.02, 0.02, 0.1, 0.1, 1, 1):  # mostly in its head
        broken = bytearray(data)
        for at in chance.integers(0, max(4, int(len(data) * share)), 6):
            broken[at] = chance.integers(0, 256)
        answer(recipe, bytes(broken))


def npz_bomb() -> bytes:
    """0.5 GB of zeros in 0.5 MB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("depth.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (8000, 8000)})
        for _ in range(8000):
            file.write(bytes(64_000))
    return out.getvalue()


def matlab_bomb() -> bytes:
    """A matrix of 60,000 by 60,000 zeros, packed, whose head says so."""
    body = struct.pack("<IIIIII", 6, 8, 6, 0, 5, 8) + struct.pack("<ii", 60_000, 60_000)
    body += struct.pack("<HH4s", 1, 4, b"data") + struct.pack("<II", 9, 0xFFFFFFF8) + bytes(1 << 20)
    packed = zlib.compress(struct.pack("<II", 14, 0xFFFFFF00) + body)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
    return head + struct.pack("<II", 15, len(packed)) + packed


LIES: Mapping[str, tuple[str, Callable[[], bytes], str]] = {
    "PLY": (
        POINTS,
        lambda: b"ply\nformat ascii 1.0\nelement vertex 999999999999\nproperty float x\nend_header\n1",
        "points",
    ),
    "PCD": (POINTS, lambda: pcd().replace(b"POINTS 5", b"POINTS 99999999"), "points"),
    "PFM": (DEPTH, lambda: b"Pf\n99999 99999\n-1.0\n" + bytes(64), "pixels"),
    "NPZ": (DEPTH, npz_bomb, "bytes of arrays"),
    "HDF5": (DEPTH, lambda: scientific.hdf({"depth": np.zeros((5000, 5000))}, packed=True), "elements"),
    "MATLAB": (DEPTH, matlab_bomb, "elements"),
    "Parquet": (IMU, lambda: scientific.parquet({"ax": np.zeros(2_000_000)}), "rows"),
    "AIFF": (AUDIO, lambda: MAKE.sound(np.zeros(16000 * 700), kind="AIFF"), "seconds"),
}


@pytest.mark.parametrize("kind", LIES)
def test_a_head_that_promises_too_much_is_refused_with_the_limit(kind: str) -> None:
    recipe, make, word = LIES[kind]
    words = answer(recipe, make())
    assert "the limit is" in words, words
    assert word in words


PROBE = """
import resource, sys
from tests.media.test_hostile_formats import FILES, LIES, answer, made
for kind in FILES:
    try: answer(*made(kind))
    except BaseException as error:
        if type(error).__name__ != "Skipped": raise
bombs = [(recipe, make()) for recipe, make, _ in LIES.values()]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for recipe, data in bombs: answer(recipe, data)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is counted in kilobytes on Linux only")
def test_none_of_them_costs_memory() -> None:
    from tests.conftest import ROOT

    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=300, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100, f"grew by {done.stdout.strip()} MiB"
