"""Rates and units that a recording or its caller states beside the columns, and their places.

Two statements of one thing must agree. A refusal names both by their places, never by a caller's text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.motion.units import SensorUnit, unit_of, unit_within

AGREE = 0.1  # share by which two rates may differ
RATE_NAMES = frozenset(
    {"rate", "rate_hz", "fs", "samplerate", "samplingrate", "sample_rate", "sampling_rate", "frequency"}
)
_SAME = 1e-3  # share by which two factors of a unit may differ
_RATE = re.compile(
    r"([a-z]+)?[\s_-]*(?<![a-z])(?:(?:sampl\w*?)?(?:rate|freq(?:uency)?)|fs|odr)(?:_hz)?(?![a-z])"
    r"\W{0,8}(?:(?:of|is|in|hz|hertz)\W{1,8}){0,3}(\d+(?:[.,]\d+)?)\s*(khz|ms|us|µs)?"
)
_OTHERS = re.compile(  # before the rate of something else
    r"heart|pulse|baud|bit|frame|video|audio|refresh|filter|pass|(cut)?off|corner|breathing|respiration|error"
)
_FACTORS = {"khz": 1e3, "ms": 1e3, "us": 1e6, "µs": 1e6}
_PERIODS = ("ms", "us", "µs")
_UNITS_LINE = re.compile(r"\bunits?\b(?:\s+of\b)?[\s:=]*(.*)")
_PARTS = re.compile(r"[,;|]|\band\b")


@dataclass(frozen=True, slots=True)
class StatedRate:
    """Rows a second, and where it stands, as in "line 2 of the recording". `param` as for a unit."""

    hz: float
    place: str
    param: str = ""


@dataclass(frozen=True, slots=True)
class StatedUnit:
    """A sensor's unit, and where it stands. `param` is the caller's parameter where that states it."""

    unit: SensorUnit
    place: str
    param: str = ""


Units = Mapping[str, StatedUnit]  # by sensor


def rates_in(comments: Sequence[tuple[int, str]]) -> tuple[StatedRate, ...]:
    """Rates of sampling that numbered lines of comments name."""
    return tuple(
        StatedRate(hz, f"line {number} of the recording")
        for number, text in comments
        for match in _RATE.finditer(text.lower())
        if not _OTHERS.fullmatch(match[1] or "") and (hz := _hz(match)) > 0
    )


def _hz(match: re.Match[str]) -> float:
    value, factor = float(match[2].replace(",", ".")), _FACTORS.get(match[3], 1.0)
    if match[3] in _PERIODS:
        return factor / value if value else 0.0
    return value * factor


def units_in(comments: Sequence[tuple[int, str]]) -> dict[str, StatedUnit]:
    """Units that lines such as "# units: g, deg/s" name."""
    found: dict[str, StatedUnit] = {}
    for number, text in comments:
        if match := _UNITS_LINE.search(text.lower()):
            stated = units_of(_PARTS.split(match[1]), f"line {number} of the recording")
            found |= {sensor: one for sensor, one in stated.items() if sensor not in found}
    return found


def units_of(parts: Sequence[str], place: str, param: str = "") -> dict[str, StatedUnit]:
    """The units of some texts, each by its sensor. Raises InvalidMedia where two are of one sensor and differ."""
    found: dict[str, StatedUnit] = {}
    for part in parts:
        unit = unit_of(part) or unit_within(part.lower(), 0)
        if unit is not None and unit.sensor:
            one = StatedUnit(unit, place, param)
            agreed([found.get(unit.sensor, one), one])
            found[unit.sensor] = one
    return found


def agreed(statements: Sequence[StatedUnit]) -> SensorUnit | None:
    """The unit that all statements name; None where there is none. Raises InvalidMedia where two differ."""
    for one in statements[1:]:
        first = statements[0]
        if abs(one.unit.factor - first.unit.factor) > _SAME * first.unit.factor:
            words = f"{first.place} says {first.unit.name}, and {one.place} says {one.unit.name}"
            raise InvalidMedia(f"{words}; they must agree", param=one.param or first.param or None)
    return statements[0].unit if statements else None


def agreed_rate(stated: Sequence[StatedRate]) -> float | None:
    """The first, None where there is none. Raises InvalidMedia where another differs."""
    for one in stated[1:]:
        if not close(one.hz, stated[0].hz):
            words = f"{stated[0].place} says {stated[0].hz:g} rows a second, and {one.place} says {one.hz:g}"
            raise InvalidMedia(f"{words}; they must agree", param=stated[0].param or None)
    return stated[0].hz if stated else None


def close(one: float, other: float) -> bool:
    return abs(one - other) <= AGREE * other
