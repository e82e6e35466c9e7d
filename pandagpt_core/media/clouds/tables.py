"""Clouds as lines of text: XYZ, TXT and CSV. Columns beyond the third are colours or normals, which no tower reads."""

import io
import re

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check

AXES = ("x", "y", "z")
_WORD = re.compile(rb"[A-Za-z_]{1,32}")
_COMMENTS = re.compile(rb"\s*((#|//)[^\n]*(\n\s*|$))*")
_MAX_LINE = 4096


def from_lines(data: bytes, limits: Limits) -> npt.NDArray[np.float64]:
    """One point a line, columns by comma, semicolon, tab or spaces; a first line of names may say where x, y, z are.

    Lines in front that begin with # or // are comments.
    """
    body = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    body = body[_COMMENTS.match(body).end() :]  # type: ignore[union-attr]  # it matches nothing at all too
    check(body.count(b"\n"), limits.points + 1, "the cloud", "lines")
    first = body[:_MAX_LINE].split(b"\n", 1)[0]
    separator = next((mark for mark in (b",", b";") if mark in first), None)
    columns, named = _columns(first, separator)
    body = body[len(first) :] if named else body
    return numbers(body, columns, limits, None if separator is None else separator.decode())


def numbers(
    body: bytes, columns: tuple[int, ...], limits: Limits, separator: str | None = None
) -> npt.NDArray[np.float64]:
    """The columns [N, len(columns)] of lines of text; none at all where there are no lines."""
    if not body.strip():
        return np.zeros((0, len(columns)))
    with decoding("table of points"):
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


def _columns(first: bytes, separator: bytes | None) -> tuple[tuple[int, ...], bool]:
    """Where x, y and z are, and whether the line names them."""
    if not first.isascii() or b"\0" in first:
        raise InvalidMedia("the medium is none of PLY, OBJ, GLB, PCD, LAS, LAZ, NPY and NPZ, and no table of numbers")
    cells = [cell.strip().strip(b'"').lower() for cell in first.split(separator)]
    if not any(_WORD.fullmatch(cell) and cell not in (b"nan", b"inf", b"infinity") for cell in cells):
        return (0, 1, 2), False
    names = [cell.decode("ascii", "replace") for cell in cells]
    missing = [axis for axis in AXES if axis not in names]
    if missing:
        raise InvalidMedia(f"the table of points has no column named {missing[0]}")
    return tuple(names.index(axis) for axis in AXES), True
