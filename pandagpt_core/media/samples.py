"""One tiny medium of each kind, made here: for the decoders' warm-up, examples and checks. Never a caller's bytes."""

import io
import wave

import av
import numpy as np
from PIL import Image


def picture(kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 100, 50)).save(out, kind)
    return out.getvalue()


def warm_picture() -> bytes:
    """Grey, as JPEG."""
    out = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(out, "JPEG")
    return out.getvalue()


def depth_map() -> bytes:
    return npy(np.linspace(1.0, 3.0, 64, dtype=np.float32).reshape(8, 8))


def recording() -> bytes:
    return npy(np.sin(np.arange(64 * 6, dtype=np.float32)).reshape(64, 6))


def words() -> bytes:
    return b"a"


def tone() -> bytes:
    """A second of 440 Hz."""
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes((8000 * np.sin(np.arange(16_000) * (440 * 2 * np.pi / 16_000))).astype("<i2").tobytes())
    return out.getvalue()


def film() -> bytes:
    """Eight frames of grey as MP4 in MPEG-4 part 2, which every build of the libraries can write."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 64
        for level in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 100 + 8 * level, np.uint8))))
        container.mux(stream.encode())
    return out.getvalue()


def cloud() -> bytes:
    """The corners of a pyramid, as PLY."""
    header = (
        "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    return header.encode() + cloud_lines()


def cloud_lines() -> bytes:
    """The same corners as lines of text."""
    return b"0 0 1\n1 1 0\n-1 1 0\n-1 -1 0\n1 -1 0\n"


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()
