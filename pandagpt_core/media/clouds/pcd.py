"""PCD, the Point Cloud Library's format, version 0.7: text, binary, and binary packed by LZF."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.clouds.tables import AXES, numbers
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.ndarrays import Float64Array

MAX_HEADER = 16 * 1024  # bytes
MAX_COUNT = 4096  # elements of one field of a point, as of a histogram
_SHORT_RUN = 32  # LZF's control bytes below: so many literal bytes and one more follow
_KINDS = {"F": "f", "I": "i", "U": "u"}


@dataclass(frozen=True, slots=True)
class _Header:
    """fields: name, numpy type and count each, in the order of the file."""

    fields: tuple[tuple[str, str, int], ...]
    points: int
    data: str

    @property
    def row(self) -> np.dtype[np.void]:
        """One point's bytes. Fields are numbered, since names may double (padding is called _)."""
        return np.dtype([(str(index), kind, (count,)) for index, (_, kind, count) in enumerate(self.fields)])

    def index(self, axis: str) -> int:
        found = [index for index, (name, _, count) in enumerate(self.fields) if name == axis and count == 1]
        if not found:
            raise InvalidMedia(f"the PCD file has no field {axis}")
        return found[0]


def from_pcd(data: bytes, limits: Limits) -> Float64Array:
    with decoding("PCD file"):
        header, body = _split(data)
        check(header.points, limits.points, "the cloud", "points")
        reader = _READERS.get(header.data)
        if reader is None:
            raise InvalidMedia(f"the data of a PCD file must be one of {', '.join(_READERS)}")
        return reader(header, body, limits)


def _split(data: bytes) -> tuple[_Header, bytes]:
    entries: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in entries:
        end = data.find(b"\n", at, MAX_HEADER)
        if end < 0:
            raise InvalidMedia(f"the PCD file has no header of at most {MAX_HEADER} bytes")
        words = data[at:end].decode("ascii").split()
        if words and not words[0].startswith("#"):
            entries[words[0]] = words[1:]
        at = end + 1
    return _parsed(entries), data[at:]


def _parsed(entries: Mapping[str, list[str]]) -> _Header:
    names = entries["FIELDS"]
    counts = [int(count) for count in entries.get("COUNT", ["1"] * len(names))]
    if any(not 1 <= count <= MAX_COUNT for count in counts):
        raise InvalidMedia(f"a field of a PCD file has 1 to {MAX_COUNT} elements")
    kinds = [f"<{_KINDS[kind]}{int(size)}" for kind, size in zip(entries["TYPE"], entries["SIZE"], strict=True)]
    points = int(entries["POINTS"][0]) if "POINTS" in entries else int(entries["WIDTH"][0]) * int(entries["HEIGHT"][0])
    if points < 0:
        raise InvalidMedia(f"the PCD file says {points} points")
    return _Header(tuple(zip(names, kinds, counts, strict=True)), points, entries["DATA"][0])


def _from_text(header: _Header, body: bytes, limits: Limits) -> Float64Array:
    starts = np.cumsum([0, *(count for _, _, count in header.fields)])
    columns = tuple(int(starts[header.index(axis)]) for axis in AXES)
    check(body.count(b"\n"), limits.points + 1, "the cloud", "lines")
    return numbers(body, columns, limits)[: header.points]


def _from_rows(header: _Header, body: bytes, _: Limits) -> Float64Array:
    rows = np.frombuffer(body, dtype=header.row, count=header.points)
    return np.stack([rows[str(header.index(axis))][:, 0].astype(np.float64) for axis in AXES], axis=1)


def _from_packed(header: _Header, body: bytes, limits: Limits) -> Float64Array:
    """Field by field: all x, then all y and so on."""
    packed, size = struct.unpack_from("<II", body)
    check(size, limits.bytes, "the unpacked cloud", "bytes")
    if size != header.points * header.row.itemsize or len(body) < 8 + packed:
        raise InvalidMedia("the PCD file's sizes do not match its number of points")
    columns, at = [], _unpacked(body[8 : 8 + packed], size)
    for name, kind, count in header.fields:
        length = header.points * count
        column = np.frombuffer(at, dtype=kind, count=length)
        at = at[column.nbytes :]
        columns.append(column if (name, count) in {(axis, 1) for axis in AXES} else None)
    found = [columns[header.index(axis)] for axis in AXES]
    return np.stack([column.astype(np.float64) for column in found if column is not None], axis=1)


_READERS: Mapping[str, Callable[[_Header, bytes, Limits], Float64Array]] = MappingProxyType(
    {"ascii": _from_text, "binary": _from_rows, "binary_compressed": _from_packed}
)


def _unpacked(data: bytes, size: int) -> bytes:
    """Exactly `size` bytes out of LZF (Lehmann 2000): runs of literal bytes, and copies of earlier ones.

    Raises ValueError for data that holds more, fewer or copies from before the begin.
    """
    out = bytearray()
    at = 0
    while at < len(data):
        control, at = data[at], at + 1
        if control < _SHORT_RUN:
            out += data[at : at + control + 1]
            at += control + 1
        else:
            length = control >> 5
            if length == 7:
                length, at = length + data[at], at + 1
            back = len(out) - ((control & 0x1F) << 8) - data[at] - 1
            at += 1
            if back < 0:
                raise ValueError("a copy from before the begin")
            _copy(out, back, length + 2)
        if len(out) > size:
            raise ValueError("more bytes than the header says")
    if len(out) != size:
        raise ValueError("fewer bytes than the header says")
    return bytes(out)


def _copy(out: bytearray, back: int, count: int) -> None:
    """`count` bytes from `back` on; a copy that reaches its own output repeats it."""
    piece = out[back : back + count]
    repeats = -(-count // len(piece))
    out += (piece * repeats)[:count]
