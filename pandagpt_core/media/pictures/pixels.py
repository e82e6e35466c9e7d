"""Pictures from bytes, with Pillow: format allow-list, size checked in the header first, and the shared geometry."""

import io

import numpy as np
import numpy.typing as npt
import pi_heif
from PIL import Image, UnidentifiedImageError

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.signatures import kind_of, what_came

SIZE = 224
# CLIP's channel statistics (Radford et al. 2021), which ImageBind uses for pictures and video.
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF")
_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
# libheif decodes only (no encoder with it), without a thread of its own; it turns pictures itself.
pi_heif.options.DECODE_THREADS = 1
pi_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit; ours is checked in every header, before anything is decoded
_REDUCED = 8  # a JPEG decodes at an eighth of its sides, where it is too large at more
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
    return decoded(open_header(data, limits), limits)


def decoded(header: Image.Image, limits: Limits) -> Image.Image:
    """The picture of `open_header`, its first frame decoded."""
    with decoding("picture"):
        header.load()
    _check_size(header, limits)
    if header.mode not in _MODES | DEEP_MODES:
        raise InvalidMedia("the picture's colour mode is not supported")
    return header


def open_header(data: bytes, limits: Limits) -> Image.Image:
    """A picture of which nothing is decoded yet, its size within the limits.

    A JPEG that is larger is set to decode at a half, a quarter or an eighth of its sides.
    """
    with decoding("picture"):
        picture = _open(data)
        if picture.format in ("JPEG", "MPO") and picture.width * picture.height > limits.pixels:
            _reduce(picture, limits)
    _check_size(picture, limits)
    return picture


def _reduce(picture: Image.Image, limits: Limits) -> None:
    width, height = picture.size
    for divisor in (2, 4, _REDUCED):
        if (width // divisor + 1) * (height // divisor + 1) <= limits.pixels:
            picture.info["full_size"] = (width, height)
            picture.draft("RGB", (width // divisor, height // divisor))
            notes.warn(f"the picture has {width * height:,} pixels; it is decoded at 1/{divisor} of its sides")
            return


def full_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height of the file's picture, however small it is decoded."""
    size: tuple[int, int] = picture.info.get("full_size", picture.size)
    return size


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        came = kind_of(data)
        if came is not None and any(name in came for name in ("PNG", "JPEG pic", "GIF", "BMP", "WebP", "TIFF")):
            raise InvalidMedia(f"the picture cannot be opened: the file is {came} with a damaged header") from error
        raise InvalidMedia(f"the picture is none of {', '.join(FORMATS)}; {what_came(data)}") from error


def _check_size(picture: Image.Image, limits: Limits) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise InvalidMedia("the picture is empty")
    check(width * height, limits.pixels, "the picture", "pixels")
    # The short side becomes 224 whatever it was, so a 1 x 65535 picture would grow to 14 million columns.
    check(max(width, height) / min(width, height), limits.aspect, "the picture", "as its ratio of sides")


def upright(picture: Image.Image) -> Image.Image:
    """Turned by its EXIF orientation; unchanged where there is none or it cannot be read."""
    turn = _TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def is_turned(picture: Image.Image) -> bool:
    """Whether `upright` exchanges its sides."""
    return _orientation(picture) >= 5


def is_oriented(picture: Image.Image) -> bool:
    """Whether `upright` changes it."""
    return _orientation(picture) in _TURNS


def _orientation(picture: Image.Image) -> int:
    """EXIF's, 1 to 8."""
    try:
        with decoding("EXIF block"):
            found = picture.getexif().get(_ORIENTATION, 1)
    except InvalidMedia:  # broken metadata of a sound picture only means "no turn"
        return 1
    return found if found in _TURNS else 1


def from_unit(values: npt.NDArray[np.floating]) -> Image.Image:
    """An 8-bit grey picture of [H, W] values in 0..1; others are clipped."""
    levels = np.clip(values, 0.0, 1.0)
    levels *= 255.0
    return Image.fromarray(np.rint(levels, out=levels).astype(np.uint8))


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


def lite0_array(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """[3, 224, 224] of [224, 224, 3]."""
    return ((rgb.astype(np.float32) - np.float32(127.0)) / np.float32(128.0)).transpose(2, 0, 1)


def grey_channels(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[1, 3, H, W] of [H, W] values in 0..1: three equal channels, each by its own of CLIP's statistics."""
    return normalise(np.repeat(grey[:, :, None], 3, axis=2)).transpose(2, 0, 1)[None]


def normalise(rgb: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[..., 3] values in 0..1 to CLIP's zero mean and unit deviation."""
    return (rgb - MEAN) / STD
