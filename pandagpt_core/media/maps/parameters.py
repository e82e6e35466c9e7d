"""Parameters that a depth map or thermal picture names itself, and the reasons why a caller gives the others.

Recipes beside those of encoders, for `POST /v1/media/inspect?only=parameters`: they refuse nothing for want of a
parameter, and guess none. The array is empty of meaning.
"""

import numpy as np

from pandagpt_core.media import notes
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.maps import flir, own, thermal
from pandagpt_core.media.maps.maps import Map, read_map
from pandagpt_core.media.params import Params, only
from pandagpt_core.modalities.builtin.maps import DEPTH, DEPTH_UNIT, THERMAL, THERMAL_UNIT
from pandagpt_core.ndarrays import Float32Array

_MILLIMETRES = (200.0, 65_535.0)  # integers whose largest lies here look like millimetres
_CENTIKELVIN = (22_000.0, 45_000.0)
_NOBODY = "nothing in the file names it"


def depth(data: bytes, params: Params, limits: Limits) -> Float32Array:
    """Unit, scale, focal length and baseline."""
    only(params)
    found = read_map(data, limits, "depth map")
    known = own.completed({}, found.own, DEPTH, DEPTH_UNIT)
    missing = {
        own.UNIT: f"{_NOBODY}; {_likely_depth(found)}",
        own.SCALE: f"{_NOBODY}",
        own.FOCAL: f"{_NOBODY}; metric depth needs it",
        own.BASELINE: f"{_NOBODY}; metric depth needs it",
    }
    for given, other in ((own.UNIT, own.SCALE), (own.SCALE, own.UNIT)):
        if given in known:
            missing[other] = f"{given} stands in its place"
    return _noted(known, missing)


def heat(data: bytes, params: Params, limits: Limits) -> Float32Array:
    """Unit, low and high."""
    only(params)
    if flir.is_radiometric(data):
        thermal.shown(data, {}, limits)
        return _noted({own.UNIT: "", own.LOW: "", own.HIGH: ""}, {})
    if thermal.is_colour(data, limits):
        why = "a picture of several channels takes none: its brightness is taken for temperature"
        return _noted({}, dict.fromkeys(THERMAL.parameter_names, why))
    found = read_map(data, limits, "thermal picture")
    known = own.completed({}, found.own, THERMAL, THERMAL_UNIT)
    if own.LOW not in known and (span := thermal.stated_span(found, str(known.get(own.UNIT, "raw")))) is not None:
        known = {**known, own.LOW: span[0], own.HIGH: span[1]}
    why = _span_words(found)
    return _noted(known, {own.UNIT: f"{_NOBODY}; {_likely_heat(found)}", own.LOW: why, own.HIGH: why})


def _noted(known: Params, missing: dict[str, str]) -> Float32Array:
    for name in missing.keys() - known.keys():
        notes.parameter(name, None, missing[name])
    return np.zeros((1, 1), np.float32)


def _values(found: Map) -> str:
    return f"its numbers go from {found.lowest:,g} to {found.highest:,g}"


def _likely_depth(found: Map) -> str:
    largest = found.highest
    if found.dtype.kind in "iu" and found.dtype.itemsize > 1 and _MILLIMETRES[0] <= largest <= _MILLIMETRES[1]:
        return f"{_values(found)}, which look like millimetres"
    return _values(found)


def _likely_heat(found: Map) -> str:
    low, high = found.lowest, found.highest
    if low >= _CENTIKELVIN[0] and high <= _CENTIKELVIN[1]:
        return f"{_values(found)}, as centikelvin {low / 100 - 273.15:.1f} to {high / 100 - 273.15:.1f} degrees Celsius"
    return _values(found)


def _span_words(found: Map) -> str:
    low, high = found.lowest, found.highest
    if found.dtype == np.uint8:
        return "8 bits are read from 0 to 255 without it"
    if found.dtype.kind == "f" and low >= 0.0 and high <= 1.0:
        return "floats within 0 to 1 are read as they are without it"
    return f"{_NOBODY}; {_values(found)}"
