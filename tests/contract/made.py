"""Small media of every kind and container that the interface page names, made in memory."""

import base64
import csv
import io
import json

import av
import numpy as np
import soundfile
import trimesh
from PIL import Image

from pandagpt_core.media import samples
from pandagpt_core.media.clouds import samples as clouds

PNG = samples.picture("PNG")
VIDEO = samples.film()
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)
_RAMP = np.linspace(500, 4000, 32 * 32).reshape(32, 32)
_MOTION = np.tile(np.arange(6.0), (400, 1))
METRIC = {"unit": "mm", "focal_px": 500.0, "baseline_m": 0.1}


def data_url(data: bytes, kind: str = "application/octet-stream") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def sound(kind: str) -> bytes:
    """A second of 440 Hz as wav, mp3, flac, ogg or m4a."""
    out = io.BytesIO()
    if kind != "m4a":
        soundfile.write(out, TONE, 16_000, format=kind.upper())
        return out.getvalue()
    with av.open(out, "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=16_000)
        for at in range(0, len(TONE) - 1024, 1024):
            frame = av.AudioFrame.from_ndarray(TONE[None, at : at + 1024], "fltp", "mono")
            frame.sample_rate, frame.pts = 16_000, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def grey(kind: str, bits: int = 16) -> bytes:
    """One channel as PNG or TIFF of 8 or 16 bits, or as npy of float32 or uint8."""
    if kind == "npy":
        return samples.npy(_RAMP.astype(np.float32) if bits == 16 else (_RAMP / 16).astype(np.uint8))
    out = io.BytesIO()
    Image.fromarray((_RAMP / (1 if bits == 16 else 16)).astype(f"uint{bits}")).save(out, kind.upper())
    return out.getvalue()


def disparities() -> bytes:
    """A depth map of ready disparities, as npy: 5 to 40."""
    return samples.npy(_RAMP.astype(np.float32) / 100)


def cloud(kind: str) -> bytes:
    """A pyramid as ply, obj, glb, las, laz, npy or csv."""
    corners = np.array([[0.0, 0, 1], [1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]])
    if kind == "npy":
        return samples.npy(corners)
    if kind == "csv":
        return "\n".join(",".join(map(str, row)) for row in corners.tolist()).encode()
    if kind in ("las", "laz"):
        return clouds.scan(clouds.CORNERS, kind == "laz")
    exported = trimesh.PointCloud(corners).export(file_type=kind) if kind != "obj" else None
    return exported if exported is not None else b"".join(b"v %f %f %f\n" % tuple(row) for row in corners)


def motion(kind: str) -> bytes:
    """400 rows of accelerometer and gyroscope as csv, json or npy."""
    if kind == "npy":
        return samples.npy(_MOTION.astype(np.float32))
    if kind == "json":
        return json.dumps(_MOTION.tolist()).encode()
    out = io.StringIO()
    csv.writer(out).writerows(_MOTION.tolist())
    return out.getvalue().encode()
