"""Tables of text as columns of numbers: separators, quotes, comments, decimal commas, encodings, empty cells.

Numbers are float64, NaN where a cell is empty or holds "nan". Errors name line and column by number, never a text.
"""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.limits import Limits, check

Column = npt.NDArray[np.float64]
_COMMENT = ("#", "//", "%")
_EMPTY = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_RATE = re.compile(r"(?:rate|frequency|freq)\w*\D{0,12}?(\d+(?:\.\d+)?)", re.IGNORECASE)
MAX_COLUMNS = 256


@dataclass(frozen=True, slots=True)
class Table:
    """`names` of the columns, empty where the table has no header. `rate_hz` is what a comment says."""

    names: tuple[str, ...]
    columns: tuple[Column, ...]
    rate_hz: float | None = None

    @property
    def rows(self) -> int:
        return len(self.columns[0]) if self.columns else 0


def read_text(body: bytes) -> str:
    """UTF-8 or UTF-16, with a byte order mark or without; what is neither is taken for Latin-1."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if body.startswith(mark):
            return body.decode(encoding, "replace")
    if b"\0" in body[:64]:
        return body.decode("utf-16-le" if body[1:2] == b"\0" else "utf-16-be", "replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1")


def read_table(body: bytes, limits: Limits) -> Table:
    """Raises InvalidMedia with line and column for what is no number."""
    lines, comments = _lines(read_text(body))
    check(len(lines), limits.imu_rows + 2, "the recording", "lines")
    if not lines:
        raise InvalidMedia("the recording has 0 rows; at least 2 are needed")
    separator, comma = _style([text for _, text in lines[:40]])
    rows = list(_rows(lines, separator, comma=comma))
    names, rows = _header(rows)
    if not rows:
        raise InvalidMedia("the recording has 0 rows; at least 2 are needed")
    width = len(names) or len(rows[0][1])
    check(width, MAX_COLUMNS, "the recording", "columns")
    columns = _columns(rows, width)
    rate = next((float(found[1]) for text in comments if (found := _RATE.search(text))), None)
    return Table(names, columns, rate)


def _lines(text: str) -> tuple[list[tuple[int, str]], list[str]]:
    """Numbered lines that hold a row, and the comments."""
    lines, comments = [], []
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith(_COMMENT):
            comments.append(bare)
        elif bare:
            lines.append((number, bare))
    return lines, comments


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


Row = tuple[int, list[str]]


def _rows(lines: Sequence[tuple[int, str]], separator: str, *, comma: bool) -> Iterator[Row]:
    if separator == " ":
        cells: Iterator[list[str]] = (text.split() for _, text in lines)
    else:
        cells = csv.reader((text for _, text in lines), delimiter=separator, skipinitialspace=True)
    for (number, _), row in zip(lines, cells, strict=False):
        stripped = [cell.strip() for cell in row]
        yield number, [cell.replace(",", ".") for cell in stripped] if comma else stripped


def _header(rows: list[Row]) -> tuple[tuple[str, ...], list[Row]]:
    """Names of the columns; a second row of words holds their units."""
    if _is_data(rows[0][1]):
        return (), rows
    names, rest = rows[0][1], rows[1:]
    if rest and len(rest[0][1]) == len(names) and not _is_data(rest[0][1]):
        units = rest[0][1]
        names = [f"{name} ({unit})" if unit else name for name, unit in zip(names, units, strict=True)]
        rest = rest[1:]
    return tuple(names), rest


def _is_data(cells: Sequence[str]) -> bool:
    """Whether most cells are numbers, empty or times."""
    good = sum(bool(_NUMBER.fullmatch(cell)) or cell.lower() in _EMPTY or _time(cell) is not None for cell in cells)
    return 2 * good > len(cells)


def _columns(rows: Sequence[Row], width: int) -> tuple[Column, ...]:
    if all(len(cells) == width for _, cells in rows):
        with suppress(ValueError):  # an empty cell, a time or a word: then each cell by itself
            plain = np.array([cells for _, cells in rows], dtype=np.float64)
            plain[~np.isfinite(plain)] = np.nan
            return tuple(plain[:, column] for column in range(width))
    values = np.empty((len(rows), width))
    texts: set[int] = set()
    for index, (number, cells) in enumerate(rows):
        if len(cells) == width + 1 and not cells[-1]:
            cells = cells[:-1]  # a separator at the line's end
        if len(cells) != width:
            raise InvalidMedia(f"line {number} of the recording has {len(cells)} columns; the others have {width}")
        for column, cell in enumerate(cells):
            try:
                values[index, column] = float(cell)
            except ValueError:
                values[index, column] = _other(cell, number, column, texts, first=index == 0)
    values[~np.isfinite(values)] = np.nan
    return tuple(values[:, column] for column in range(width))


def _other(cell: str, line: int, column: int, texts: set[int], *, first: bool) -> float:
    """The number of a cell that Python's float does not read. A column that begins with a word holds words."""
    if cell.lower() in _EMPTY or column in texts:
        return math.nan
    if (time := _time(cell)) is not None:
        return time
    if first:
        texts.add(column)
        return math.nan
    raise InvalidMedia(f"line {line}, column {column + 1} of the recording holds no number")


def _time(cell: str) -> float | None:
    """Seconds of an ISO 8601 time; without a zone as UTC, since differences alone count."""
    if len(cell) < 8 or not (cell[4:5] == "-" or cell[2:3] == ":"):
        return None
    try:
        when = datetime.fromisoformat(cell if cell[4:5] == "-" else f"1970-01-01T{cell}")
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def remark_missing(columns: Sequence[Column]) -> None:
    """Say how many readings are missing."""
    missing = float(np.mean([np.isnan(column).mean() for column in columns]))
    if missing:
        notes.warn(f"{missing:.1%} of the readings are missing; they are filled in from their neighbours")
