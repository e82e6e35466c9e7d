"""A picture as a viewer shows it: turned, its first frame not blank, deep grey scaled, transparency on a ground.

For recipes of our own. Recipes of published checkpoints (`imagebind-*`) read as the original did.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.pictures.pixels import DEEP_MODES, from_unit, open_picture, resize_and_crop, upright

DEPTHS = (1, 255, 1023, 4095, 16383, 65535)  # the largest value of a grey of floats in 0..1, of 8, 10, 12, 14, 16 bits
FRAMES_TRIED = 64
_BLANK = 2.0  # standard deviation of grey levels below which nothing can be seen
_SHARE = 16
_FAINT = 6.0  # the same of a drawing on white that another ground shows better
_DARK = 48  # the grey of viewers in their dark mode
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")


def open_shown(data: bytes, limits: Limits) -> Image.Image:
    """RGB, or RGBA where there is transparency, upright."""
    picture = open_picture(data, limits)
    _describe(picture)
    return shown(picture, limits)


def shown(picture: Image.Image, limits: Limits) -> Image.Image:
    """A decoded picture as RGB, or RGBA where there is transparency: its first frame that is not blank, upright."""
    with decoding("picture"):
        return as_shown(upright(first_seen(picture, limits)))


def as_shown(picture: Image.Image) -> Image.Image:
    """RGB, or RGBA where there is transparency; deep grey scaled to 8 bits instead of clipped."""
    if picture.mode in DEEP_MODES:
        return deep_grey(picture).convert("RGB")
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def square(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """[224, 224, 3], transparency laid on a ground after the resize, which heeds alpha."""
    seen = np.asarray(on_ground(resize_and_crop(picture)))
    remark_blank("picture", seen)
    return seen


def on_ground(picture: Image.Image) -> Image.Image:
    """RGB with any alpha laid over white, as a viewer shows it; over dark grey where white would hide the drawing."""
    if picture.mode != "RGBA":
        return picture
    white, dark = (_over(picture, level) for level in (255, _DARK))
    if contrast(white) < _FAINT < contrast(dark):
        notes.warn("the drawing is as light as a white ground; it is shown on dark grey")
        return dark
    return white


def _over(picture: Image.Image, level: int) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", picture.size, (level, level, level, 255)), picture).convert("RGB")


def contrast(picture: Image.Image) -> float:
    """The standard deviation of its grey levels, 0 to 128."""
    return float(np.asarray(picture.convert("L"), dtype=np.float32).std())


def remark_blank(what: str, rgb: npt.NDArray[np.uint8], remark: Callable[[str], None] = notes.empty) -> None:
    """Remark that a picture or all frames of a film hold one colour only: as empty, or as a mere warning."""
    if _varies(rgb.reshape(-1, rgb.shape[-1])):
        return
    level = float(rgb.mean())
    colour = "black" if level < 16 else "white" if level > 239 else "of one colour"
    remark(f"The {what} is all {colour}.")


def _varies(pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether a channel of [N, 3] deviates by `_BLANK`: mostly found by one pixel of 16, whose variance over 16 is a
    lower bound of the whole one's."""
    few = pixels[::_SHARE]
    return bool(few.std(axis=0).max() >= _BLANK * _SHARE**0.5) or bool(pixels.std(axis=0).max() >= _BLANK)


def deep_grey(picture: Image.Image) -> Image.Image:
    """8 bits of a grey of more bits or of floats, over the smallest usual range that holds its values."""
    values = np.asarray(picture, dtype=np.float64)
    known = np.isfinite(values)
    if not known.any():
        raise InvalidMedia("the picture holds no number")
    low, high = float(values[known].min()), float(values[known].max())
    ranges = DEPTHS if picture.mode == "F" else DEPTHS[1:]
    top = next((top for top in ranges if high <= top), None)
    if top is None or low < 0:
        takes = ", ".join(f"{one:,}" for one in DEPTHS)
        raise InvalidMedia(
            f"the grey picture's values go from {low:,g} to {high:,g}; they must go from 0 to one of {takes}"
        )
    notes.fact("range", f"0 to {top:,}; the values go from {low:,g} to {high:,g}")
    notes.fact("share at the upper end", f"{(values[known] >= top).mean():.1%}")
    if not known.all():
        notes.warn(f"{1 - known.mean():.1%} of the pixels hold NaN or infinity and are shown black")
    return from_unit(np.where(known, values, 0.0) / top)


def first_seen(picture: Image.Image, limits: Limits) -> Image.Image:
    """The first frame; of an animation that begins blank the first with at least half of the best contrast."""
    count = getattr(picture, "n_frames", 1)
    if count < 2 or picture.format not in _ANIMATED or _seen(picture) >= _BLANK:
        return picture
    tried = min(count, FRAMES_TRIED, max(1, 4 * limits.pixels // (picture.width * picture.height)))
    seen = []
    for index in range(tried):
        picture.seek(index)
        seen.append(_seen(picture))
    chosen = next(index for index, one in enumerate(seen) if one >= max(seen) / 2)
    picture.seek(chosen)
    if chosen:
        notes.warn(f"frame {chosen + 1} of {count} is shown: the animation begins blank")
    return picture.copy()


def _seen(picture: Image.Image) -> float:
    grey = deep_grey(picture) if picture.mode in DEEP_MODES else picture
    small = grey.convert("RGBA").resize((64, 64), Image.Resampling.BOX)
    return max(contrast(_over(small, 255)), contrast(_over(small, 0))) if _visible(small) else 0.0


def _visible(picture: Image.Image) -> bool:
    return picture.getchannel("A").getextrema()[1] not in (0, (0, 0))


def _describe(picture: Image.Image) -> None:
    notes.fact("type", picture.format)
    notes.fact("size", f"{picture.width} x {picture.height}, {picture.mode}")
    if (frames := getattr(picture, "n_frames", 1)) > 1:
        notes.fact("frames", frames)
