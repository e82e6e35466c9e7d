"""Maps of numbers (depth, temperature) from bytes, one channel each: grey pictures, .npy, .npz, PFM, EXR, MATLAB, HDF5.

NaN and infinity are "no reading". A picture is turned by its EXIF orientation.
"""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import Imath
import numpy as np
import numpy.typing as npt
import OpenEXR
from PIL import Image
from PIL.ImageFile import ImageFile

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.arrays import npy, npz
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.maps import own
from pandagpt_core.media.maps.own import NOTHING, Own
from pandagpt_core.media.pictures.pixels import decoded, open_header, upright
from pandagpt_core.media.pictures.shown import first_seen
from pandagpt_core.media.scientific import magic
from pandagpt_core.media.scientific.arrays import named_arrays
from pandagpt_core.ndarrays import AnyArray, Float64Array

TAKES = "a grey PNG or TIFF of 8 or 16 bits or floats, .npy, .npz, PFM, EXR, MATLAB or HDF5, of one channel"
_EXR, _ZIP = b"\x76\x2f\x31\x01", b"PK\x03\x04"
_GREY_ALPHA = ("LA", "La")
_DEEP_ALPHA = "LA;16B"  # Pillow's name of what it reads as 8 bits
_SMALL = 4  # a side of a camera's matrix
_MAP_NAME = re.compile(r"depth|disp|inverse|therm|temp|celsius|kelvin|^(z|map|data|arr_0)$", re.IGNORECASE)
_MAX_PFM_HEADER = 200
_FLOAT = Imath.PixelType(Imath.PixelType.FLOAT)
CLIPPED = 0.25  # share of the readings at one end of the range from which a warning is noted
_FLAT = 0.98  # share of the readings at one end of the range from which a map is flat


@dataclass(frozen=True, slots=True)
class Map:
    """[H, W] values, NaN where there is no reading. `dtype` is of the file's numbers, `kind` its format.

    `lowest` and `highest` are of the readings, of any sign. `own` are the parameters that the file names itself.
    """

    values: Float64Array
    dtype: np.dtype[np.generic]
    kind: str
    lowest: float
    highest: float
    own: Own = field(default_factory=lambda: NOTHING)


def read_map(data: bytes, limits: Limits, what: str, header: Image.Image | None = None) -> Map:
    """The map that the bytes hold. `what` names it in errors ("depth map"). `header`: of a picture opened already."""
    read = _read(data, limits, what) if header is None else _picture(header, limits, what)
    raw, kind = _plane(read.array, what), read.kind
    values = raw.astype(np.float64)
    missing = _without_absent(values, read.absent, floats=raw.dtype.kind == "f")
    if missing == 1.0:
        raise InvalidMedia(f"the {what} has no reading: all its values are NaN, infinity or transparent")
    lowest, highest = ends(values)
    notes.fact("type", f"{kind}, {raw.dtype.name}")
    notes.fact("size", f"{raw.shape[1]} x {raw.shape[0]}")
    notes.fact("values", f"{lowest:,g} to {highest:,g}")
    if missing:
        notes.fact("no reading", f"{missing:.1%} of the pixels")
    return Map(values, raw.dtype, kind, lowest, highest, read.own)


def _without_absent(values: Float64Array, absent: npt.NDArray[np.bool_] | None, *, floats: bool) -> float:
    """NaN in place where there is no reading, and the share of that; of integers all are readings but for `absent`."""
    if floats:
        holes = ~np.isfinite(values)
        absent = holes if absent is None else absent | holes
    if absent is None:
        return 0.0
    values[absent] = np.nan
    return float(absent.mean())


def ends(values: Float64Array) -> tuple[float, float]:
    """The least and the largest reading; NaN where there is none."""
    return float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))


@dataclass(frozen=True, slots=True)
class _Raw:
    """`absent` marks what holds no reading beside NaN and infinity."""

    array: AnyArray
    kind: str
    own: Own = field(default_factory=lambda: NOTHING)
    absent: npt.NDArray[np.bool_] | None = None


def _read(data: bytes, limits: Limits, what: str) -> _Raw:
    if npy.is_npy(data):
        return _Raw(npy.read(data, limits, finite=False), ".npy")
    if data.startswith(_ZIP):
        return _chosen(npz.arrays(data, limits), ".npz", what)
    if data[:3] in (b"Pf\n", b"Pf\r", b"Pf "):
        return _Raw(_pfm(data, limits), "PFM")
    if data.startswith(_EXR):
        return _exr(data, limits, what)
    if magic.is_parquet(data) or magic.is_refused(data):
        raise InvalidMedia(f"the {what} is a Parquet, MATLAB 4 or gzip file; it must be {TAKES}")
    if magic.is_scientific(data):
        return _chosen(named_arrays(data, limits), "HDF5" if magic.is_hdf(data) else "MATLAB", what)
    return _picture(open_header(data, limits), limits, what)


def _chosen(arrays: Mapping[str, AnyArray], kind: str, what: str) -> _Raw:
    """The map among the arrays of one file: the only one that is no scalar, vector or camera matrix, or is named so."""
    planes = {name: array for name, array in arrays.items() if sum(side > _SMALL for side in array.shape) == 2}
    if len(arrays) == 1:
        planes = dict(arrays)
    by_name = [name for name in planes if _MAP_NAME.search(name)]
    names = list(planes) if len(planes) == 1 else by_name
    if len(names) != 1:
        raise InvalidMedia(
            f"the {kind} file of a {what} holds one map, or one named depth or thermal; it holds {len(planes)} maps"
        )
    others = [(name, array) for name, array in arrays.items() if name != names[0]]
    return _Raw(planes[names[0]], kind, {**own.unit_of_name(names[0]), **own.named(others, "the file")})


def is_grey(picture: Image.Image) -> bool:
    """Whether it has a single channel of numbers."""
    return picture.mode in ("L", "1", "I", "F") or picture.mode.startswith("I;16")


def _picture(header: Image.Image, limits: Limits, what: str) -> _Raw:
    deep_alpha = any(_DEEP_ALPHA in str(tile) for tile in header.tile) if isinstance(header, ImageFile) else False
    picture = decoded(header, limits)
    kind = str(picture.format)
    if deep_alpha or not (is_grey(picture) or picture.mode in _GREY_ALPHA):
        bits = "16-bit grey with transparency" if deep_alpha else f"mode {picture.mode}"
        raise InvalidMedia(f"the {what} is a {kind} picture of {bits}; it must be {TAKES}")
    with decoding("picture"):
        frame = upright(first_seen(picture, limits))
        absent = _transparent(frame)
        array = np.asarray(frame.getchannel("L") if frame.mode in _GREY_ALPHA else frame)
        array = array.astype(np.uint8) if array.dtype == bool else array
    return _Raw(array, kind, _of_picture(picture), absent)


def _transparent(picture: Image.Image) -> npt.NDArray[np.bool_] | None:
    """Mask of a grey picture's invisible pixels: by its alpha, or by the level that it names as transparent."""
    if picture.mode in _GREY_ALPHA:
        return np.asarray(np.asarray(picture.getchannel("A")) == 0)
    level = picture.info.get("transparency")
    return np.asarray(np.asarray(picture) == level) if isinstance(level, int) else None


def _of_picture(picture: Image.Image) -> Own:
    """Texts of a PNG by their names, tags of a TIFF, and EXIF; broken metadata of a sound picture give nothing."""
    try:
        with decoding("picture's metadata"):
            texts = own.named(getattr(picture, "text", {}).items(), "the picture")
            return {**own.of_exif(picture.getexif(), picture.size), **own.of_tiff(picture), **texts}
    except InvalidMedia:
        return NOTHING


def _plane(array: npt.NDArray[np.generic], what: str) -> npt.NDArray[np.generic]:
    """[H, W]; axes of one entry in front and behind are dropped."""
    shape = array.shape
    if array.ndim > 2:
        array = array.reshape([side for side in shape if side > 1] or [1, 1])
    if array.ndim != 2:
        axes = " by ".join(map(str, shape))
        raise InvalidMedia(f"a {what} has two dimensions; this one has {len(shape)} ({axes})")
    return array


def _pfm(data: bytes, limits: Limits) -> npt.NDArray[np.generic]:
    """Portable float map: "Pf", width, height, scale (negative: little-endian), rows from the bottom up."""
    with decoding("PFM picture"):
        width, height, scale, start = _pfm_header(data)
        check(width * height, limits.elements, "the PFM picture", "pixels")
        dtype = np.dtype("<f4" if scale < 0 else ">f4")
        if len(data) - start < width * height * 4:
            raise InvalidMedia(
                f"the PFM picture is cut short: {width} x {height} floats need {width * height * 4} bytes"
            )
        values = np.frombuffer(data, dtype, width * height, start).reshape(height, width)
    return values[::-1].astype(np.float32)


def _pfm_header(data: bytes) -> tuple[int, int, float, int]:
    words: list[bytes] = []
    at = 2
    while len(words) < 3:
        end = at + 1
        while not data[end : end + 1].isspace():
            if end > _MAX_PFM_HEADER:
                raise ValueError("header too long")
            end += 1
        words += data[at:end].split()
        at = end
    return int(words[0]), int(words[1]), float(words[2]), at + 1


def _exr(data: bytes, limits: Limits, what: str) -> _Raw:
    """One float channel of an OpenEXR picture: the only one, or the one named Z or Y."""
    with decoding("EXR picture"):
        file = OpenEXR.InputFile(io.BytesIO(data))
        header = file.header()
        window = header["dataWindow"]
        width, height = window.max.x - window.min.x + 1, window.max.y - window.min.y + 1
        check(width * height, limits.pixels, "the EXR picture", "pixels")
        names = list(header["channels"])
        found = next((name for name in ("Z", "Y") if name in names), names[0] if len(names) == 1 else None)
        if found is None:
            raise InvalidMedia(
                f"the EXR picture of a {what} holds one channel, or one named Z; this one has {len(names)}"
            )
        body = file.channel(found, _FLOAT)
    stated = own.named(header.items(), "the picture's header")
    return _Raw(np.frombuffer(body, np.float32).reshape(height, width), "EXR", stated)


def mapped(values: Float64Array, low: float, high: float, complain: Callable[[str], InvalidMedia]) -> Float64Array:
    """Readings from low..high to 0..1, clipped; NaN stays. Remarks and refuses as `check_ends`."""
    check_ends(values, low, high, complain)
    unit = values - low  # the one new array; those of megabytes cost more than the arithmetic
    np.divide(unit, high - low, out=unit)
    return np.clip(unit, 0.0, 1.0, out=unit)


def check_ends(values: Float64Array, low: float, high: float, complain: Callable[[str], InvalidMedia]) -> None:
    """Remark the shares of the readings at both ends of low..high, refuse a map that is flat by them.

    `complain` makes the refusal from a sentence about the values, as in "98% lie above high (10 to 45; ...)".
    """
    lowest, highest = ends(values)
    span = f"{low:,g} to {high:,g}; yours are {lowest:,g} to {highest:,g}"
    for side, share in _shares(values, low, high).items():
        if share >= _FLAT and highest > lowest:
            amount = "every value lies" if share == 1.0 else f"{share:.0%} of the values lie"
            raise complain(f"{amount} {side} ({span})")
        _remark_share(side, share, span)


def remark_ends(values: Float64Array, low: float, high: float, what: str) -> None:
    """Remark the shares at both ends of low..high, which is called `what`."""
    for side, share in _shares(values, low, high).items():
        _remark_share(side, share, what)


def _shares(values: Float64Array, low: float, high: float) -> dict[str, float]:
    """Of the readings, by the side of low..high on which they lie."""
    known = values.size - np.count_nonzero(np.isnan(values))
    return {
        "below low": float(np.count_nonzero(values <= low) / known),
        "above high": float(np.count_nonzero(values >= high) / known),
    }


def _remark_share(side: str, share: float, span: str) -> None:
    notes.fact(f"share {side}", f"{share:.1%}")
    if share > CLIPPED:
        notes.warn(f"{share:.0%} of the values lie {side} ({span})")
