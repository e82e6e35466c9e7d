"""Times and dates in cells of a table, as seconds: ISO 8601, and the dates of other countries."""

import re
from datetime import UTC, datetime

# Day, month and year in either order, then perhaps a time of day.
_DATE = re.compile(
    r"(?P<a>\d{1,4})[./-](?P<b>\d{1,2})[./-](?P<c>\d{1,4})"
    r"(?:[T ,]+(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?)\s*(?P<half>[ap]\.?m\.?)?)?",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2}):(\d{2}(?:[.,]\d{1,9})?)\s*([ap]\.?m\.?)?", re.IGNORECASE)
_SHORTEST = 7  # characters, as in 1:02:03
_HOUR, _HALF_DAY = 3600, 12


def seconds_of(cell: str) -> float | None:
    """Seconds of a date or a time of day; without a zone as UTC, since differences alone count. None for neither.

    Of 01/05/2024 the first is the day, but where it cannot be.
    """
    if len(cell) < _SHORTEST or not cell[0].isdigit():
        return None
    if cell[4:5] == "-":
        try:
            return _timestamp(datetime.fromisoformat(cell))
        except ValueError:
            pass
    if match := _CLOCK.fullmatch(cell):
        return _clock(*match.groups())
    return _dated(match) if (match := _DATE.fullmatch(cell)) else None


def _timestamp(when: datetime) -> float:
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _clock(hours: str, minutes: str, seconds: str, half: str | None) -> float:
    hour = int(hours) % _HALF_DAY + _HALF_DAY * (half[0] in "pP") if half else int(hours)
    return hour * _HOUR + int(minutes) * 60 + float(seconds.replace(",", "."))


def _dated(match: re.Match[str]) -> float | None:
    first, second, third = (int(match[name]) for name in "abc")
    year, month, day = (first, second, third) if len(match["a"]) == 4 else (third, second, first)
    if month > 12 >= day:
        month, day = day, month
    try:
        midnight = datetime(year, month, day, tzinfo=UTC).timestamp()
    except ValueError:
        return None
    hours, minutes, *seconds = (match["time"] or "0:0").split(":")
    return midnight + _clock(hours, minutes, seconds[0] if seconds else "0", match["half"])
