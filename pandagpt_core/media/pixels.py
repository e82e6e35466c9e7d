"""Pictures from bytes, with Pillow: format allow-list, size checked in the header first, and the shared geometry."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check

SIZE = 224
# CLIP's channel statistics (Radford et al. 2021), which ImageBind uses for pictures and video.
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_picture(data: bytes, limits: Limits) -> Image.Image:
    """Decode the first frame. Nothing is decoded before the size in the header has passed; truncation is refused."""
    with decoding("picture"):
        picture = open_header(data, limits)
        picture.load()
    _check_size(picture, limits)
    if picture.mode not in _MODES | _DEEP_MODES:
        raise InvalidMedia("the picture's colour mode is not supported")
    return picture


def open_header(data: bytes, limits: Limits) -> Image.Image:
    """A picture of which nothing is decoded yet, its size within the limits."""
    with decoding("picture"):
        picture = _open(data, limits)
    _check_size(picture, limits)
    return picture


def _open(data: bytes, limits: Limits) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise InvalidMedia(f"the picture has too many pixels; the limit is {limits.pixels}") from error
    except UnidentifiedImageError as error:
        raise InvalidMedia(f"the picture is none of {', '.join(FORMATS)}, or its header is damaged") from error


def _check_size(picture: Image.Image, limits: Limits) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise InvalidMedia("the picture is empty")
    check(width * height, limits.pixels, "the picture", "pixels")
    # The short side becomes 224 whatever it was, so a 1 x 65535 picture would grow to 14 million columns.
    check(max(width, height) / min(width, height), limits.aspect, "the picture", "as its ratio of sides")


def upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; unchanged where there is none or it cannot be read."""
    turn = _TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def is_turned(picture: Image.Image) -> bool:
    """Whether `upright` exchanges its sides."""
    return _orientation(picture) >= 5


def _orientation(picture: Image.Image) -> int:
    """EXIF's, 1 to 8."""
    try:
        with decoding("EXIF block"):
            found = picture.getexif().get(_ORIENTATION, 1)
    except InvalidMedia:  # broken metadata of a sound picture only means "no turn"
        return 1
    return found if found in _TURNS else 1


def as_seen(picture: Image.Image) -> Image.Image:
    """RGB, or RGBA where there is transparency; 16-bit grey scaled to 8 bits instead of clipped."""
    if picture.mode in _DEEP_MODES:
        return to_grey8(picture).convert("RGB")
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def on_white(picture: Image.Image) -> Image.Image:
    """RGB with any alpha laid over white, as a viewer shows it. Cheapest after the resize, which heeds alpha."""
    if picture.mode != "RGBA":
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, (255, 255, 255, 255)), picture).convert("RGB")


def to_grey8(picture: Image.Image) -> Image.Image:
    """A deep grey picture as 8 bits: integers over 0..65535, floats over 0..1."""
    values = np.asarray(picture, dtype=np.float64)
    return from_unit(np.nan_to_num(values if picture.mode == "F" else values / 65535.0))


def from_unit(values: npt.NDArray[np.floating]) -> Image.Image:
    """An 8-bit grey picture of [H, W] values in 0..1; what lies outside is clipped."""
    return Image.fromarray(np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8))


def resize_and_crop(picture: Image.Image, size: int = SIZE) -> Image.Image:
    """Short side to `size` (Pillow's antialiased bicubic, long side rounded down), then the centre square.

    The crop starts at round((side - size) / 2), halves to even: the geometry ImageBind's checkpoints were trained on.
    """
    width, height = picture.size
    scaled = (size, size * height // width) if width <= height else (size * width // height, size)
    if scaled != picture.size:
        picture = picture.resize(scaled, Image.Resampling.BICUBIC)
    left, top = (round((side - size) / 2.0) for side in scaled)
    return picture.crop((left, top, left + size, top + size))


def lite0_array(picture: Image.Image) -> npt.NDArray[np.float32]:
    """[3, 224, 224] of an RGB or RGBA picture."""
    square = np.asarray(on_white(resize_and_crop(picture)), dtype=np.float32)
    return ((square - np.float32(127.0)) / np.float32(128.0)).transpose(2, 0, 1)


def normalise(rgb: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[..., 3] values in 0..1 to CLIP's zero mean and unit deviation."""
    return (rgb - MEAN) / STD
