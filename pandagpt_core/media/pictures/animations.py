"""Animated pictures (GIF, WebP, APNG) as videos: frames by time, with Pillow."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pandagpt_core.media import notes
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.pictures.pixels import open_header
from pandagpt_core.media.pictures.shown import on_ground

T = TypeVar("T")
RGB = npt.NDArray[np.uint8]
_MAGIC = (b"GIF8", b"\x89PNG\r\n\x1a\n")
_SHORTEST_MS = 20  # viewers show a frame of 0 or 10 ms for longer
_DEFAULT_MS = 100
_DITHER_SIDE, _DITHER_LEVELS, _DITHER_SHARE = 128, 6, 0.15  # pixels, grey levels, share of the pixels that are dots


def is_animation(data: bytes) -> bool:
    return data.startswith(_MAGIC) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP")


def pick_pictures(
    data: bytes, limits: Limits, choose: Callable[[list[float]], list[int]], keep: Callable[[RGB], T]
) -> list[T]:
    """`keep` of the frames that `choose` names by index; it gets the seconds at which each begins, and the end."""
    with decoding("animation"):
        picture = open_header(data, limits)
        area = picture.width * picture.height
        check(area, limits.video_pixels, "a frame of the video", "pixels")
        frames = getattr(picture, "n_frames", 1)
        check(frames, limits.frames, "the video", "frames")
        check(frames * area, limits.frame_pixels, "the video", "pixels over all frames")
        times = _times(picture, frames)
        check(times[-1], limits.seconds, "the video", "seconds")
        wanted = choose(times)
        notes.fact("type", f"{picture.format}, {picture.width} x {picture.height}")
        notes.fact("frames", f"{frames} in {times[-1]:.2f} s")
        kept = {index: keep(_frame(picture, index)) for index in sorted(set(wanted))}
    return [kept[index] for index in wanted]


def _times(picture: Image.Image, frames: int) -> list[float]:
    """Seconds at which each frame begins, and the end."""
    times = [0.0]
    for index in range(frames):
        picture.seek(index)
        if picture.format == "WEBP":
            picture.load()  # a load learns the duration
        shown = float(picture.info.get("duration") or 0)
        times.append(times[-1] + (shown if shown >= _SHORTEST_MS else _DEFAULT_MS) / 1000)
    return times


def _frame(picture: Image.Image, index: int) -> RGB:
    picture.seek(index)
    shown = on_ground(picture.convert("RGBA"))
    return np.asarray(_undithered(shown) if picture.format == "GIF" else shown)


def _undithered(shown: Image.Image) -> Image.Image:
    """A palette's dots made the colour that the eye sees, where dots are what the frame consists of."""
    if min(shown.size) < _DITHER_SIDE:
        return shown
    smooth = shown.filter(ImageFilter.MedianFilter(5))
    changed = np.abs(np.asarray(shown, dtype=np.int16) - np.asarray(smooth)).max(axis=2) > _DITHER_LEVELS
    return smooth if changed.mean() > _DITHER_SHARE else shown
