"""One tiny medium of each kind through the decoders, so that nothing is imported or opened once the child is locked.

Libraries load plugins, tables and codecs on first use. After `sandbox.lock_down` no file can be opened, so first use
must lie before it. The media are made here, never a caller's.
"""

import contextlib
import io
import wave

import numpy as np
from PIL import Image

import pandagpt_core.media as media


def run(limits: media.Limits) -> None:
    Image.init()
    samples: dict[str, tuple[bytes, dict[str, float | str]]] = {
        "image": (picture("PNG"), {}),
        "thermal": (picture("JPEG"), {}),
        "depth": (npy(np.ones((8, 8), np.float32)), {"unit": "m", "focal_px": 500.0, "baseline_m": 0.1}),
        "audio": (tone(), {}),
        "video": (picture("GIF"), {}),
        "imu": (npy(np.zeros((64, 6), np.float32)), {"rate_hz": 50.0}),
        "text": (b"a", {}),
    }
    for recipe in media.RECIPES:
        for data, params in samples.values():
            with contextlib.suppress(Exception):  # a refusal warms up the refusing path, which is as good
                media.load(recipe, data, params, limits)


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
