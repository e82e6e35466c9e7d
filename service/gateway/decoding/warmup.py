"""One tiny medium of each kind through the decoders, so that nothing is imported or opened once the child is locked.

Libraries load plugins, tables and codecs on first use. After `sandbox.lock_down` no file can be opened, so first use
must lie before it. The media are made here, never a caller's.
"""

import contextlib
import importlib
import io
import pkgutil
import wave
from types import ModuleType

import av
import numpy as np
import PIL
from PIL import Image

import pandagpt_core.media as media
from pandagpt_core.boxes import Located
from pandagpt_core.media.annotate import write_objects


def run(limits: media.Limits) -> None:
    for package in (av, PIL):
        _import_all(package)
    Image.init()
    samples: dict[str, tuple[bytes, dict[str, float | str]]] = {
        "image": (picture("PNG"), {}),
        "thermal": (picture("JPEG"), {}),
        "depth": (npy(np.ones((8, 8), np.float32)), {"unit": "m", "focal_px": 500.0, "baseline_m": 0.1}),
        "audio": (tone(), {}),
        "video": (film(), {}),
        "imu": (npy(np.zeros((64, 6), np.float32)), {"rate_hz": 50.0}),
        "text": (b"a", {}),
        "boxes": (picture("JPEG"), {"objects": write_objects([Located("a", (0.1, 0.1, 0.9, 0.9))])}),
    }
    for recipe in media.RECIPES:
        for data, params in samples.values():
            with contextlib.suppress(Exception):  # a refusal warms up the refusing path, which is as good
                media.load(recipe, data, params, limits)


def _import_all(package: ModuleType) -> None:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError, RuntimeError):  # parts that want what is not installed (Tk, Qt)
                importlib.import_module(module.name)


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 100, 50)).save(out, kind)
    return out.getvalue()


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def tone() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(2 * 16_000))
    return out.getvalue()


def film() -> bytes:
    """Eight frames of grey as MP4 in MPEG-4 part 2, which every build of the libraries can write."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 64
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8))))
        container.mux(stream.encode())
    return out.getvalue()
