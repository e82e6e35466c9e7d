"""Sensors, their channels, and their units as files write them: which sensor, which factor to m/s^2 or rad/s."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ACCELEROMETER, GYROSCOPE = "accelerometer", "gyroscope"
CHANNELS = tuple((sensor, axis) for sensor in (ACCELEROMETER, GYROSCOPE) for axis in "xyz")
STANDARD_GRAVITY = 9.80665


@dataclass(frozen=True, slots=True)
class SensorUnit:
    """`factor` turns numbers into m/s^2 or rad/s; NaN where nothing does."""

    name: str
    sensor: str
    factor: float


_ALL = (
    SensorUnit("m/s2", ACCELEROMETER, 1.0),
    SensorUnit("g", ACCELEROMETER, STANDARD_GRAVITY),
    SensorUnit("mg", ACCELEROMETER, STANDARD_GRAVITY / 1000),
    SensorUnit("rad/s", GYROSCOPE, 1.0),
    SensorUnit("mrad/s", GYROSCOPE, 1e-3),
    SensorUnit("deg/s", GYROSCOPE, math.pi / 180),
    SensorUnit("mdeg/s", GYROSCOPE, math.pi / 180_000),
    SensorUnit("counts", "", math.nan),
)
UNITS: Mapping[str, SensorUnit] = {unit.name: unit for unit in _ALL}
# As `_compact` leaves them.
_SPELT = {
    "m/s2": ("ms2", "mss", "mps2", "mpss"),
    "g": ("g", "gs", "gn", "g0"),
    "mg": ("mg", "millig"),
    "rad/s": ("rads", "rps"),
    "mrad/s": ("mrads",),
    "deg/s": ("degs", "dps"),
    "mdeg/s": ("mdegs", "mdps"),
    "counts": ("lsb", "count", "counts", "adc"),
}
_BY_SPELLING = {spelt: UNITS[name] for name, spellings in _SPELT.items() for spelt in spellings}
_WORDS = (
    (re.compile(r"²"), "2"),
    (re.compile(r"[°º]"), "deg"),
    (re.compile(r"degrees?|deg\b"), "deg"),
    (re.compile(r"radians?"), "rad"),
    (re.compile(r"met(?:er|re)s?"), "m"),
    (re.compile(r"seconds?|secs?\b"), "s"),
    (re.compile(r"squared"), "2"),
    (re.compile(r"\bper\b|[\s/^*·'._-]"), ""),
)
_TOKEN = re.compile(r"[a-z0-9²°º/^]+")
_AXES = ("x", "y", "z")
_LONGEST = 5  # words of a unit, as in "meters per second squared"


def unit_of(text: str) -> SensorUnit | None:
    """The unit that the whole text names."""
    return _BY_SPELLING.get(_compact(text.lower()))


def unit_within(text: str, start: int) -> SensorUnit | None:
    """The unit among the words of a lower-case text from the one of that index on, the longest first."""
    words = [word for word in _TOKEN.findall(text)[start:] if word not in _AXES]
    return next((unit for part in _windows(words) if (unit := unit_of(part)) is not None), None)


def _windows(words: Sequence[str]) -> list[str]:
    longest = min(len(words), _LONGEST)
    return [" ".join(words[at : at + size]) for size in range(longest, 0, -1) for at in range(len(words) - size + 1)]


def _compact(text: str) -> str:
    for pattern, spelt in _WORDS:
        text = pattern.sub(spelt, text)
    return text
