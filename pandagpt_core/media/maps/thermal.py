"""Thermal pictures to encoder arrays [1, 1, 224, 224], values 0..1."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.arrays import npy
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.maps import flir, own
from pandagpt_core.media.maps.maps import Map, is_grey, mapped, read_map
from pandagpt_core.media.pictures.pixels import (
    decoded,
    from_unit,
    grey_channels,
    is_oriented,
    normalise,
    open_header,
    open_picture,
    resize_and_crop,
)
from pandagpt_core.media.pictures.shown import on_ground, open_shown, square
from pandagpt_core.media.pictures.shown import shown as shown_picture
from pandagpt_core.media.scientific import magic
from pandagpt_core.modalities.builtin.maps import HIGH, LOW, THERMAL, THERMAL_UNIT
from pandagpt_core.ndarrays import Float64Array

_ZERO_C = 273.15
_TO_CELSIUS = {"celsius": (1.0, 0.0), "kelvin": (1.0, -_ZERO_C), "centikelvin": (0.01, -_ZERO_C)}  # factor, offset

TemperatureRange = tuple[float, float]


def imagebind(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """As PandaGPT's loader: 8-bit grey, the picture geometry, divided by 255 and not normalised.

    Without `low` and `high` a picture is read as that loader reads it: EXIF orientation ignored, 16 bits clipped at
    255. With them, or as an array, it is read as by `shown`.
    """
    p.of_entry(params, THERMAL)
    if npy.is_npy(data) or _span(params) is not None or not _is_picture(data):
        return shown(data, params, limits)
    picture = open_picture(data, limits)
    if is_oriented(picture):
        notes.warn("The picture is read as it is stored, as the published checkpoint did, and not turned as EXIF says.")
    with decoding("picture"):
        return _array(picture.convert("L"), notes.warn)


def shown(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """Upright; 8-bit grey as it is, anything deeper by `low` and `high`, or a radiometric JPEG by its constants.

    `low` and `high` are raw values, or degrees Celsius where `unit` names what the values are. Floats within 0..1
    without a unit are taken as they are. NaN and infinity are no reading and become 0.
    """
    p.of_entry(params, THERMAL)
    span = _span(params)
    if flir.is_radiometric(data):
        thermogram = flir.read(data, limits)
        _remark_own(thermogram)
        if params.get("unit", "celsius") != "celsius":
            notes.warn("a camera's radiometric picture is in degrees Celsius by its own constants: unit is not used")
        return _array(_scaled(thermogram.celsius, span or thermogram.span))
    head = _header(data, limits)
    if head is not None and (not is_grey(head) or (head.has_transparency_data and not params)):
        if span is not None or "unit" in params:
            raise _needs_grey()
        return _array(_brightness(head, limits))
    found = read_map(data, limits, "thermal picture", head)
    check(max(found.values.shape) / min(found.values.shape), limits.aspect, "the map", "as its ratio of sides")
    params = own.completed(params, found.own, THERMAL, THERMAL_UNIT)
    span = span or _span(params)
    values, unit = _in_unit(found, params)
    span = span or stated_span(found, unit)
    if span is None and unit == "raw":
        span = _own_span(found)
    if span is None:
        raise InvalidMedia(
            f"low and high are required in degrees Celsius: the temperatures go from {np.nanmin(values):.1f} to "
            f"{np.nanmax(values):.1f}",
            param="low",
        )
    return _array(_scaled(values, span))


def languagebind(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """[1, 3, 224, 224] with CLIP's statistics, as LanguageBind's loader reads a picture of three channels.

    A colour picture keeps its colours, as its camera's palette drew them. Grey, which that loader refuses, is read as
    by `shown` and fills the three channels.
    """
    p.of_entry(params, THERMAL)
    if not is_colour(data, limits):
        return grey_channels(shown(data, params, limits)[0, 0])
    if params:
        raise _needs_grey()
    seen = square(open_shown(data, limits))
    return normalise(seen.astype(np.float32) / np.float32(255.0)).transpose(2, 0, 1)[None]


def _needs_grey() -> InvalidMedia:
    return InvalidMedia("low, high and unit need a picture of a single grey channel", param="low")


def _remark_own(thermogram: flir.Thermogram) -> None:
    low, high = (round(degrees, 1) for degrees in thermogram.span)
    notes.parameter("unit", "celsius", "by the camera's own constants")
    notes.parameter("low", low, "the span that the camera showed")
    notes.parameter("high", high, "the span that the camera showed")


def _is_picture(data: bytes) -> bool:
    other = data[:4] in (b"PK\x03\x04", b"\x76\x2f\x31\x01") or data[:2] == b"Pf" or magic.is_scientific(data)
    return not (other or magic.is_parquet(data) or magic.is_refused(data) or flir.is_radiometric(data))


def is_colour(data: bytes, limits: Limits) -> bool:
    """Whether the bytes are a picture of several channels."""
    head = _header(data, limits)
    return head is not None and not is_grey(head)


def _header(data: bytes, limits: Limits) -> Image.Image | None:
    """A picture of which nothing is decoded yet; None for arrays and other maps."""
    return None if npy.is_npy(data) or not _is_picture(data) else open_header(data, limits)


def _brightness(head: Image.Image, limits: Limits) -> Image.Image:
    """A picture of several channels as grey, as a viewer shows it."""
    picture = decoded(head, limits)
    notes.fact("type", f"{picture.format}, {picture.mode}")
    if picture.mode not in ("LA", "La", "L"):
        notes.warn("a colour picture: the brightness of its colours is taken for temperature")
    seen = shown_picture(picture, limits)
    with decoding("picture"):
        return (on_ground(resize_and_crop(seen)) if seen.mode == "RGBA" else seen).convert("L")


def _in_unit(found: Map, params: p.Params) -> tuple[Float64Array, str]:
    unit = p.choice(params, THERMAL_UNIT) if "unit" in params else "raw"
    notes.fact("unit", unit)
    if unit == "raw":
        return found.values, unit
    factor, offset = _TO_CELSIUS[unit]
    return found.values * factor + offset, unit


def stated_span(found: Map, unit: str) -> TemperatureRange | None:
    """The span of the file's numbers that it names itself, in degrees Celsius where the unit is known."""
    numbers = own.span_of_numbers(found.own)
    if numbers is None:
        return None
    factor, offset = _TO_CELSIUS.get(unit, (1.0, 0.0))
    low, high = (round(number * factor + offset, 6) for number in numbers)
    notes.parameter(own.LOW, low, found.own[own.LEAST].reason)
    notes.parameter(own.HIGH, high, found.own[own.LARGEST].reason)
    return low, high


def _own_span(found: Map) -> TemperatureRange:
    """The numbers that become 0 and 1 where nothing names them: of 8 bits, or of floats within 0..1."""
    low, high = found.lowest, found.highest
    if found.dtype == np.uint8:
        return 0.0, 255.0
    if found.dtype.kind == "f" and low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    raise InvalidMedia(
        f"a thermal picture of {found.dtype.name} needs low and high, or a unit with them in degrees Celsius: its "
        f"values go from {low:,g} to {high:,g}",
        param="low",
    )


def _span(params: p.Params) -> TemperatureRange | None:
    low, high = p.number(params, LOW), p.number(params, HIGH)
    if low is None and high is None:
        return None
    if low is None or high is None or not low < high:
        raise InvalidMedia("low and high come together, low below high", param="low")
    return low, high


def _scaled(values: Float64Array, span: TemperatureRange) -> Image.Image:
    notes.fact("range", f"{span[0]:,g} to {span[1]:,g}")
    unit = mapped(values, *span, lambda words: InvalidMedia(f"the thermal picture is flat: {words}", param="low"))
    return from_unit(np.fmax(unit, 0.0, out=unit))  # no reading is 0


def _array(grey: Image.Image, remark: Callable[[str], None] = notes.empty) -> npt.NDArray[np.float32]:
    with decoding("picture"):
        square = resize_and_crop(grey)
    array = (np.asarray(square, dtype=np.float32) / np.float32(255.0))[None, None]
    if array.std() < 2 / 255:
        remark("The thermal picture is all of one value.")
    return array
