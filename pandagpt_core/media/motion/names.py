"""Names of columns: which sensor, which axis, which unit; the words that phones, loggers and data sets use."""

import re
from dataclasses import dataclass

ACCELEROMETER, GYROSCOPE, TIME = "accelerometer", "gyroscope", "time"
CHANNELS = tuple((sensor, axis) for sensor in (ACCELEROMETER, GYROSCOPE) for axis in "xyz")


def _line(words: str) -> re.Pattern[str]:
    """Finds one of the words as a whole line."""
    return re.compile(rf"^(?:{words})$", re.MULTILINE)


# What is dropped, and said so, in the order of looking: the first that a name holds. Gravity before g.
_DROPPED = (
    ("magnetometer", _line(r"mag(netic|netometer|n)?|compass")),
    ("gravity", _line(r"grav(ity)?")),
    ("orientation", _line(r"orient(ation)?|roll|pitch|yaw|quat(ernion)?|euler|attitude|heading")),
    ("temperature", _line(r"temp(erature)?")),
    ("pressure", _line(r"press(ure)?|baro(meter)?")),
    ("position", _line(r"lat(itude)?|lon(gitude)?|alt(itude)?|speed|gps|bearing")),
    ("heart rate", _line(r"heart|hr|bpm|ppg")),
)
_GYROSCOPE = _line(r"gyr(o|oscope|os)?|omega|angular|angvel|rotation|rotationrate|rot|gyration")
_LINEAR = _line(r"lin(ear)?|user|useracceleration|linearacceleration|body")
_ACCELEROMETER = _line(r"acc(el|l|elerometer|eleration)?|accelerations?|total")
_TIME = _line(r"time(stamp)?s?|t|seconds|elapsed|epoch|date(time)?|utc|ms|us|ns|sec|clock")
_AXIS = re.compile(r"(?:^|[^a-z])([xyz])$|^(?:acc|gyr|gyro|mag|a|g|w|m|lin|accel|omega|rot)([xyz])$|[a-z]([xyz])$")
_UNIT = re.compile(r"[(\[{]\s*([^)\]}]*?)\s*[)\]}]")
STANDARD_GRAVITY = 9.80665
_DEGREE = 0.017453292519943295
# Unit as written, spaces and signs taken out -> (sensor, factor to m/s^2 or rad/s, how it is named).
UNITS = {
    "m/s2": (ACCELEROMETER, 1.0),
    "ms2": (ACCELEROMETER, 1.0),
    "m/s/s": (ACCELEROMETER, 1.0),
    "m/s²": (ACCELEROMETER, 1.0),
    "ms-2": (ACCELEROMETER, 1.0),
    "g": (ACCELEROMETER, STANDARD_GRAVITY),
    "mg": (ACCELEROMETER, STANDARD_GRAVITY / 1000),
    "gs": (ACCELEROMETER, STANDARD_GRAVITY),
    "rad/s": (GYROSCOPE, 1.0),
    "rads": (GYROSCOPE, 1.0),
    "rad/sec": (GYROSCOPE, 1.0),
    "deg/s": (GYROSCOPE, _DEGREE),
    "deg/sec": (GYROSCOPE, _DEGREE),
    "°/s": (GYROSCOPE, _DEGREE),
    "dps": (GYROSCOPE, _DEGREE),
    "mdps": (GYROSCOPE, _DEGREE / 1000),
    "degrees/s": (GYROSCOPE, _DEGREE),
}
_TIME_UNITS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class Named:
    """What a name says. `kind` is a sensor, "time", the word for something that is dropped, or "" for nothing known.

    `factor` turns its numbers into m/s^2, rad/s or seconds, None where the name has no unit. `linear` marks
    acceleration without gravity.
    """

    kind: str
    axis: str = ""
    factor: float | None = None
    linear: bool = False


def understand(name: str, within: str = "") -> Named:
    """`within` is the sensor of the whole file, where its columns are called x, y, z."""
    unit = _UNIT.search(name)
    words = _words(_UNIT.sub(" ", name))
    axis = _axis(words)
    kind, linear = _kind(words, axis)
    if kind == "" and within and axis and words == axis:
        kind = within
    if kind == TIME:
        return Named(kind, factor=_time_factor(unit[1] if unit else words))
    if kind not in (ACCELEROMETER, GYROSCOPE):
        return Named(kind, axis)
    if not axis:
        return Named("magnitude" if kind else "")
    return Named(kind, axis, unit_factor(unit[1] if unit else words.rpartition(" ")[2], kind), linear)


def unit_factor(text: str, sensor: str) -> float | None:
    """None where the text is no unit of the sensor."""
    found = UNITS.get(re.sub(r"[\s^*·]", "", text.lower()))
    return found[1] if found is not None and found[0] == sensor else None


def _words(name: str) -> str:
    """Lower case, camel case and signs as blanks."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name.strip())
    return " ".join(re.split(r"[^a-zµ]+", spaced.lower())).strip()


def _axis(words: str) -> str:
    for text in (words, *words.split()[::-1]):
        if found := _AXIS.search(text):
            return next(group for group in found.groups() if group)
    return ""


def _kind(words: str, axis: str) -> tuple[str, bool]:
    """The sensor or what is dropped, and whether gravity is taken out."""
    parts = words.split()
    stems = [part[:-1] if axis and part.endswith(axis) and len(part) > 1 else part for part in parts]

    lines = "\n".join(dict.fromkeys((*parts, *stems, "".join(parts), "".join(stems))))

    def has(pattern: re.Pattern[str]) -> bool:
        return pattern.search(lines) is not None

    for kind, pattern in _DROPPED:
        if has(pattern):
            return kind, False
    if has(_GYROSCOPE) or (axis and stems and stems[-1 if len(stems) == 1 else 0] in ("g", "w")):
        return GYROSCOPE, False
    if has(_ACCELEROMETER) or has(_LINEAR) or (axis and stems and stems[0] == "a"):
        return ACCELEROMETER, has(_LINEAR)
    if axis and stems and stems[0] == "m":
        return "magnetometer", False
    if has(_TIME):
        return TIME, False
    return "", False


def _time_factor(text: str) -> float | None:
    return next((_TIME_UNITS[word] for word in reversed(text.lower().split()) if word in _TIME_UNITS), None)
