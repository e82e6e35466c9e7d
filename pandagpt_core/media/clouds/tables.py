"""Clouds as lines of text: XYZ, TXT and CSV. Columns beyond the third are colours or normals, which no tower reads."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.signatures import kind_of

AXES = ("x", "y", "z")
_WORD = re.compile(rb"[A-Za-z_]{1,32}")
_COMMENTS = re.compile(rb"\s*((#|//)[^\n]*(\n\s*|$))*")
_MAX_LINE = 4096
_SEARCHED = 8 * 1024 * 1024  # bytes of a table in which a bad line is looked for
TAKES = "PLY, OBJ, GLB, PCD, LAS, LAZ, NPY, NPZ and tables of numbers (XYZ, PTS, CSV, TXT)"


def from_lines(data: bytes, limits: Limits) -> npt.NDArray[np.float64]:
    """One point a line, columns by comma, semicolon, tab or spaces; a first line of names may show where x, y, z are.

    Lines in front that begin with # or // are comments.
    """
    if (kind := kind_of(data)) is not None:
        raise InvalidMedia(f"the cloud is none of {TAKES}; the file is {kind}")
    body = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    body = body[_COMMENTS.match(body).end() :]  # type: ignore[union-attr]  # it matches nothing at all too
    check(body.count(b"\n"), limits.points + 1, "the cloud", "lines")
    first = body[:_MAX_LINE].split(b"\n", 1)[0]
    separator = next((mark for mark in (b";", b",") if mark in first), None)
    if separator == b";":
        body = body.replace(b",", b".")  # with semicolons between cells a comma is a decimal one
        first = first.replace(b",", b".")
    if separator is None and first.strip().isdigit():  # the number of points, in front of them in PTS and XYZ
        body = body[len(first) :].lstrip(b"\n")
        first = body[:_MAX_LINE].split(b"\n", 1)[0]
    columns, named = _columns(first, separator)
    body = body[len(first) :] if named else body
    return numbers(body, columns, limits, None if separator is None else separator.decode())


def numbers(
    body: bytes, columns: tuple[int, ...], limits: Limits, separator: str | None = None
) -> npt.NDArray[np.float64]:
    """The columns [N, len(columns)] of lines of text; none at all where there are no lines."""
    if not body.strip():
        return np.zeros((0, len(columns)))
    lines = body.removeprefix(b"\n").split(b"\n") if len(body) <= _SEARCHED else []
    with decoding("table of points"), _naming_its_line(lines, columns, separator):
        table: npt.NDArray[np.float64] = np.loadtxt(
            io.BytesIO(body),
            usecols=columns,
            delimiter=separator,
            comments="#",
            ndmin=2,
            max_rows=limits.points + 1,
            encoding="utf-8",
        )
    check(len(table), limits.points, "the cloud", "points")
    return table.reshape(-1, len(columns))


@contextmanager
def _naming_its_line(lines: Sequence[bytes], columns: tuple[int, ...], separator: str | None) -> Iterator[None]:
    """In place of the library's words, the first of the lines that has not a number in each of the columns."""
    try:
        yield
    except ValueError as error:
        for at, line in enumerate(lines, 1):
            cells = line.split(b"#")[0].split(None if separator is None else separator.encode())
            if cells and len(cells) <= max(columns):
                raise InvalidMedia(
                    f"line {at} of the table of points has {len(cells)} columns; x, y and z need {max(columns) + 1}"
                ) from error
            for column in columns if cells else ():
                if not _is_number(cells[column]):
                    raise InvalidMedia(
                        f"line {at} of the table of points has no number in column {column + 1}"
                    ) from error
        raise


def _is_number(cell: bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _columns(first: bytes, separator: bytes | None) -> tuple[tuple[int, ...], bool]:
    """Columns of x, y and z, and whether the line names them."""
    if not first.isascii() or b"\0" in first:
        raise InvalidMedia(f"the cloud is none of {TAKES}; its first line is no text")
    cells = [cell.strip().strip(b'"').lower() for cell in first.split(separator)]
    if not any(_WORD.fullmatch(cell) and cell not in (b"nan", b"inf", b"infinity") for cell in cells):
        return (0, 1, 2), False
    names = [cell.decode("ascii", "replace") for cell in cells]
    missing = [axis for axis in AXES if axis not in names]
    if missing:
        raise InvalidMedia(f"the table of points has no column named {missing[0]}")
    return tuple(names.index(axis) for axis in AXES), True
