"""Tables of text as columns of numbers: separators, quotes, comments, decimal commas, encodings, empty cells.

Numbers are float64, NaN where a cell is empty or holds "nan". Errors name line and column by number, never a text.
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.motion.stated import StatedRate, Units, rates_in, units_in
from pandagpt_core.ndarrays import Float64Array

_COMMENT = ("#", "//", "%")
_EMPTY = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
# Day, month and year in either order, then perhaps a time of day.
_DATE = re.compile(
    r"(?P<a>\d{1,4})[./-](?P<b>\d{1,2})[./-](?P<c>\d{1,4})"
    r"(?:[T ,]+(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?)\s*(?P<half>[ap]\.?m\.?)?)?",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2}):(\d{2}(?:[.,]\d{1,9})?)\s*([ap]\.?m\.?)?", re.IGNORECASE)
_SHORTEST = 7  # characters, as in 1:02:03
_HOUR, _HALF_DAY = 3600, 12
_JSON_NUMBERS = msgspec.json.Decoder(list[float])
MAX_COLUMNS = 256
MAX_LINE = 65_536  # characters; the csv module refuses a cell of twice as many


@dataclass(frozen=True, slots=True)
class Table:
    """`names` of the columns, empty where the table has no header; `head` is the header's line, 0 where none is known.

    `rates` and `units` are those of comments and other fields. `called` names the table in errors. `words` are the
    columns that hold words in place of numbers, with the line of the first.
    """

    names: tuple[str, ...]
    columns: tuple[Float64Array, ...]
    rates: tuple[StatedRate, ...] = ()
    units: Units = field(default_factory=dict)
    head: int = 0
    called: str = "the recording"
    words: Mapping[int, int] = field(default_factory=dict)

    def place(self, column: int) -> str:
        """Place of a column's name, in words for errors; `column` counts from 0."""
        line = f"line {self.head}, " if self.head else ""
        return f"{line}column {column + 1} of {self.called}"


def read_text(body: bytes) -> str:
    """UTF-8 or UTF-16, with a byte order mark or without; other bytes are taken for Latin-1."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if body.startswith(mark):
            return body.decode(encoding, "replace")
    if b"\0" in body[:64]:
        return body.decode("utf-16-le" if body[1:2] == b"\0" else "utf-16-be", "replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def read_table(text: str, limits: Limits) -> Table:
    """Raises InvalidMedia with line and column for a cell that is no number."""
    lines, comments = _lines(text)
    check(len(lines), limits.imu_rows + 2, "the recording", "lines")
    if not lines:
        raise InvalidMedia("the recording has 0 rows; at least 2 are needed")
    texts = [text for _, text in lines]
    check(max(map(len, texts)), MAX_LINE, "a line of the recording", "characters")
    separator, comma = _style(texts[:40])
    with decoding("recording"):
        head = list(_rows(lines[:2], separator, comma=comma))
    names, skipped = _header(head)
    lines, texts = lines[skipped:], texts[skipped:]
    if not lines:
        raise InvalidMedia("the recording has 0 rows; at least 2 are needed")
    width = len(names) or len(head[0][1])
    check(width, MAX_COLUMNS, "the recording", "columns")
    columns = None if comma else _plain(texts, separator, width)
    words: Mapping[int, int] = {}
    if columns is None:
        with decoding("recording"):
            columns, words = _columns(list(_rows(lines, separator, comma=comma)), width)
    return Table(names, columns, rates_in(comments), units_in(comments), head=head[0][0] if names else 0, words=words)


def _lines(text: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Numbered lines that hold a row, and those that are comments."""
    numbered = [(number, bare) for number, line in enumerate(text.splitlines(), 1) if (bare := line.strip())]
    if not any(mark in text for mark in _COMMENT):
        return numbered, []
    comments = [one for one in numbered if one[1].startswith(_COMMENT)]
    return [one for one in numbered if not one[1].startswith(_COMMENT)], comments


def _style(lines: Sequence[str]) -> tuple[str, bool]:
    """The separator, and whether numbers have a decimal comma."""
    last = lines[-1]
    for mark in (";", "\t", "|"):
        if mark in last:
            return mark, any(_COMMA_NUMBER.fullmatch(cell.strip(' "')) for cell in last.split(mark))
    if "," not in last:
        return " ", False
    cells = last.split()
    if len(cells) > 2 and all(_COMMA_NUMBER.fullmatch(cell) for cell in cells):
        return " ", True
    return ",", False


NumberedRow = tuple[int, list[str]]  # a line's number and its cells, blanks around them


def _rows(lines: Sequence[tuple[int, str]], separator: str, *, comma: bool) -> Iterator[NumberedRow]:
    if separator == " ":
        cells: Iterator[list[str]] = (text.split() for _, text in lines)
    else:
        cells = csv.reader((text for _, text in lines), delimiter=separator, skipinitialspace=True)
    for (number, _), row in zip(lines, cells, strict=False):
        yield number, [cell.replace(",", ".") for cell in row] if comma else row


def _header(rows: Sequence[NumberedRow]) -> tuple[tuple[str, ...], int]:
    """Names of the columns, and how many of the first two rows hold them: a second row of words holds their units."""
    names = _stripped(rows[0][1])
    if _is_data(names):
        return (), 0
    units = _stripped(rows[1][1]) if len(rows) > 1 else []
    if len(units) != len(names) or _is_data(units):
        return tuple(names), 1
    return tuple(f"{name} ({unit})" if unit else name for name, unit in zip(names, units, strict=True)), 2


def _stripped(cells: Sequence[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def _is_data(cells: Sequence[str]) -> bool:
    """Whether most cells are numbers, empty or times."""
    good = sum(
        bool(_NUMBER.fullmatch(cell)) or cell.lower() in _EMPTY or seconds_of(cell) is not None for cell in cells
    )
    return 2 * good > len(cells)


def _plain(texts: Sequence[str], separator: str, width: int) -> tuple[Float64Array, ...] | None:
    """The columns where every cell is a number; None where one is not, or is quoted, or a row has another width."""
    if {text.count(separator) for text in texts} != {width - 1}:
        return None
    values = _numbers(separator.join(texts).replace(separator, ","))
    if values is None or len(values) != len(texts) * width:
        return None
    return _split(np.array(values).reshape(len(texts), width))


def _numbers(text: str) -> list[float] | None:
    """Numbers between commas, mostly such as JSON has them, whose reader is far faster than float()."""
    try:
        return _JSON_NUMBERS.decode(f"[{text}]")
    except msgspec.DecodeError:
        pass
    try:
        return list(map(float, text.split(",")))
    except ValueError:
        return None


def _split(values: npt.NDArray[np.float64]) -> tuple[Float64Array, ...]:
    """[rows, columns] apart; infinity is no reading."""
    values[~np.isfinite(values)] = np.nan
    return tuple(values.T)


def _columns(rows: Sequence[NumberedRow], width: int) -> tuple[tuple[Float64Array, ...], Mapping[int, int]]:
    """Cell by cell, where some are empty, times or words. The columns, and those of words with their first line."""
    values = np.empty((len(rows), width))
    texts: dict[int, int] = {}
    for index, (number, raw) in enumerate(rows):
        cells = _stripped(raw)
        if len(cells) == width + 1 and not cells[-1]:
            cells = cells[:-1]  # a separator at the line's end
        if len(cells) != width:
            raise InvalidMedia(f"line {number} of the recording has {len(cells)} columns; the others have {width}")
        for column, cell in enumerate(cells):
            try:
                values[index, column] = float(cell)
            except ValueError:
                values[index, column] = _other(cell, number, column, texts, first=index == 0)
    return _split(values), texts


def _other(cell: str, line: int, column: int, texts: dict[int, int], *, first: bool) -> float:
    """The number of a cell that Python's float does not read. A column that begins with a word holds words."""
    if cell.lower() in _EMPTY or column in texts:
        return math.nan
    if (time := seconds_of(cell)) is not None:
        return time
    if first:
        texts[column] = line
        return math.nan
    raise InvalidMedia(f"line {line}, column {column + 1} of the recording holds no number")


def remark_missing(columns: Sequence[Float64Array]) -> None:
    """Warn of missing readings, with their share."""
    missing = float(np.mean([np.isnan(column).mean() for column in columns]))
    if missing:
        notes.warn(f"{missing:.1%} of the readings are missing; they are filled in from their neighbours")


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
