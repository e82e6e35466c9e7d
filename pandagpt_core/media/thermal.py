"""Thermal pictures to encoder arrays [1, 1, 224, 224], values 0..1."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import npy
from pandagpt_core.media import params as p
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.pixels import from_unit, open_picture, resize_and_crop

_FURTHEST = 1e9


def imagebind(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """As PandaGPT's loader: 8-bit grey, the picture geometry, divided by 255 and not normalised.

    A 16-bit picture is clipped at 255 as that loader clips it, unless `low` and `high` are given: then raw values are
    mapped from low..high to 0..1 first (also for .npy). A .npy array without them is uint8, or float within 0..1.
    """
    p.only(params, ("low", "high"))
    grey = _from_array(data, params, limits) if npy.is_npy(data) else _from_picture(data, params, limits)
    with decoding("picture"):
        square = resize_and_crop(grey)
    return (np.asarray(square, dtype=np.float32) / np.float32(255.0))[None, None]


def _from_picture(data: bytes, params: p.Params, limits: Limits) -> Image.Image:
    picture = open_picture(data, limits)
    span = _span(params)
    with decoding("picture"):
        if span is None:
            return picture.convert("L")
        if picture.mode not in ("L", "I", "F") and not picture.mode.startswith("I;16"):
            raise InvalidMedia("low and high need a picture of a single grey channel", param="low")
        return _mapped(np.asarray(picture, dtype=np.float64), span)


def _from_array(data: bytes, params: p.Params, limits: Limits) -> Image.Image:
    array = npy.read(data, limits)
    if array.ndim != 2:
        raise InvalidMedia(f"a thermal .npy array has two dimensions; this one has {array.ndim}")
    check(max(array.shape) / min(array.shape), limits.aspect, "the array", "as its ratio of sides")
    span = _span(params)
    values = array.astype(np.float64)
    if span is not None:
        return _mapped(values, span)
    if array.dtype == np.uint8:
        return from_unit(values / 255.0)
    if array.dtype.kind == "f" and values.min() >= 0.0 and values.max() <= 1.0:
        return from_unit(values)
    raise InvalidMedia("a thermal .npy array is uint8, or float within 0..1, or comes with low and high", param="low")


def _span(params: p.Params) -> tuple[float, float] | None:
    low, high = (p.number(params, name, -_FURTHEST, _FURTHEST) for name in ("low", "high"))
    if low is None and high is None:
        return None
    if low is None or high is None or not low < high:
        raise InvalidMedia("low and high come together, low below high", param="low")
    return low, high


def _mapped(values: npt.NDArray[np.float64], span: tuple[float, float]) -> Image.Image:
    if not np.isfinite(values).all():
        raise InvalidMedia("the picture holds NaN or infinity")
    return from_unit((values - span[0]) / (span[1] - span[0]))
