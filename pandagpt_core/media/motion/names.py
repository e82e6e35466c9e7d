"""Names of columns: which sensor, which axis, which unit; the words that phones, loggers and data sets use."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pandagpt_core.media.motion.units import ACCELEROMETER, GYROSCOPE, SensorUnit, unit_of, unit_within

TIME = "time"
LINEAR = "linear"  # acceleration without gravity


def _line(words: str) -> re.Pattern[str]:
    """Finds one of the words as a whole line."""
    return re.compile(rf"^(?:{words})$", re.MULTILINE)


# Dropped with a warning, in the order of looking: the first that a name holds. Gravity before g.
_DROPPED = (
    ("magnetometer", _line(r"mag(netic|netometer|n)?|compass")),
    ("gravity", _line(r"grav(ity)?")),
    ("orientation", _line(r"orient(ation)?|roll|pitch|yaw|quat(ernion)?|euler|attitude|heading")),
    ("temperature", _line(r"temp(erature)?")),
    ("pressure", _line(r"press(ure)?|baro(meter)?")),
    ("position", _line(r"lat(itude)?|lon(gitude)?|alt(itude)?|speed|gps|bearing")),
    ("heart rate", _line(r"heart|hr|bpm|ppg")),
)
_WITH_FORM = r"acc(el|l|elerometer|elerations?)?"
_LINEAR = _line(rf"(lin(ear)?|user)({_WITH_FORM})?|body")
_SENSORS = (
    (GYROSCOPE, _line(r"gyr(o|oscope|os)?|omega|angular|angvel|rotation|rotationrate|rot|gyration")),
    (ACCELEROMETER, _line(rf"(total)?{_WITH_FORM}|total")),
    (ACCELEROMETER, _LINEAR),
)
_LETTERS = {"a": ACCELEROMETER, "g": GYROSCOPE, "w": GYROSCOPE, "m": "magnetometer"}
# Several recordings of one sensor in one file, in the order in which they are preferred; "" is the plain one.
FORMS = ("total", "", "uncalibrated", LINEAR)
_UNCALIBRATED = ("uncalibrated", _line(r"uncal(ibrated)?"))
_FORMS = {
    ACCELEROMETER: (_UNCALIBRATED, (LINEAR, _LINEAR), ("total", _line(rf"total({_WITH_FORM})?"))),
    GYROSCOPE: (_UNCALIBRATED,),
}
_TIME = _line(r"time(stamp)?s?|t|seconds|elapsed|epoch|date(time)?|utc|ms|us|ns|sec|clock")
_AXIS = re.compile(r"(?:^|[^a-z])([xyz])$|^(?:acc|gyr|gyro|mag|a|g|w|m|lin|accel|omega|rot)([xyz])$|[a-z]([xyz])$")
_CAMEL, _SIGNS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])"), re.compile(r"[^a-zµ]+")
_UNIT = re.compile(r"[(\[{]\s*([^)\]}]*?)\s*[)\]}]")
_TIME_UNITS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class Named:
    """The meaning of a name. `kind` is a sensor, "time", the word for something that is dropped, or "" for others.

    `form` is one of `FORMS`, of a sensor; `unit` its unit, of whichever sensor; `seconds` the step of times. None where
    the name does not state it.
    """

    kind: str
    axis: str = ""
    form: str = ""
    unit: SensorUnit | None = None
    seconds: float | None = None


NOTHING = Named("")


def understand(name: str, within: Named = NOTHING) -> Named:
    """`within` is the meaning of the whole file's name, where its columns are called x, y, z."""
    bracket = _UNIT.search(name)
    plain = _UNIT.sub(" ", name) if bracket else name
    words = _words(plain)
    axis = _axis(words)
    kind, form = _kind(words, axis)
    if kind == "" and within.kind and axis and words == axis:
        kind = within.kind
    if kind == TIME:
        return Named(kind, seconds=_time_factor(bracket[1] if bracket else words))
    if kind not in (ACCELEROMETER, GYROSCOPE):
        return Named(kind, axis)
    if not axis:
        return Named("magnitude")
    unit = unit_of(bracket[1]) if bracket else unit_within(_spaced(plain), 1)
    return Named(kind, axis, form or within.form, unit)


def _spaced(name: str) -> str:
    """Lower case, camel case as blanks."""
    return _CAMEL.sub(" ", name.strip()).lower()


def _words(name: str) -> str:
    """Lower case, camel case and signs as blanks."""
    return " ".join(_SIGNS.split(_spaced(name))).strip()


def _axis(words: str) -> str:
    for text in (words, *words.split()[::-1]):
        if found := _AXIS.search(text):
            return next(group for group in found.groups() if group)
    return ""


def _kind(words: str, axis: str) -> tuple[str, str]:
    """The sensor or what is dropped, and the sensor's form."""
    parts = words.split()
    stems = [part[:-1] if axis and part.endswith(axis) and len(part) > 1 else part for part in parts]
    lines = "\n".join(dict.fromkeys((*parts, *stems, "".join(parts), "".join(stems))))

    for kind, pattern in _DROPPED:
        if pattern.search(lines):
            return kind, ""
    sensor = next((kind for kind, pattern in _SENSORS if pattern.search(lines)), "") or _by_letter(parts, axis)
    if sensor in _FORMS:
        return sensor, next((form for form, pattern in _FORMS[sensor] if pattern.search(lines)), "")
    return sensor or (TIME if _TIME.search(lines) else ""), ""


def _by_letter(parts: Sequence[str], axis: str) -> str:
    """The sensor of a letter at its axis, as in ax or g_x, wherever it stands in the name."""
    pairs = [*parts, *map("".join, pairwise(parts))] if axis else []
    return next((kind for letter, kind in _LETTERS.items() if letter + axis in pairs), "")


def _time_factor(text: str) -> float | None:
    return next((_TIME_UNITS[word] for word in reversed(text.lower().split()) if word in _TIME_UNITS), None)
