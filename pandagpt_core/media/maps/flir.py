"""FLIR radiometric JPEG: raw sensor counts and the camera's constants, in application segments of the picture.

The layout is that of FLIR's "FFF" file as documented by ExifTool (Harvey; `FLIR.pm`): a directory of records, of which
1 is the raw picture (PNG, or 16-bit words) and 32 the camera's constants. Counts become temperature by Planck's law as
the camera's own software applies it: T = B / ln(R1 / (R2 (raw + O)) + F), in kelvin.
"""

import struct
from dataclasses import dataclass

import numpy as np

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.pictures.pixels import open_picture
from pandagpt_core.ndarrays import Float64Array

_ZERO_C = 273.15
_APP1, _SCAN = 0xE1, 0xDA
_RAW, _CAMERA = 1, 0x20
_MAX_RECORDS = 128
_HEADER = b"FLIR\x00\x01"


@dataclass(frozen=True, slots=True)
class Thermogram:
    """[H, W] degrees Celsius, and the span that the camera showed."""

    celsius: Float64Array
    span: tuple[float, float]


def is_radiometric(data: bytes) -> bool:
    return data.startswith(b"\xff\xd8") and _HEADER in data and any(_segments(data))


def read(data: bytes, limits: Limits) -> Thermogram:
    """Raises InvalidMedia where the segments hold no raw picture or no constants."""
    with decoding("FLIR radiometric JPEG"):
        records = _records(b"".join(_segments(data)))
        if _RAW not in records or _CAMERA not in records:
            raise InvalidMedia("the FLIR JPEG holds no raw picture with the camera's constants")
        raw, camera = _raw(records[_RAW], limits), records[_CAMERA]
        to_celsius = _planck(camera)
        middle, span = struct.unpack_from("<ii", camera, 0x338)
        celsius = to_celsius(raw)
    notes.fact("type", f"FLIR radiometric JPEG, {raw.shape[1]} x {raw.shape[0]} raw values")
    notes.fact("unit", "celsius, by the camera's own constants")
    low, high = (float(one) for one in to_celsius(np.array([middle - span / 2, middle + span / 2], dtype=np.float64)))
    if not (np.isfinite([low, high]).all() and low < high):
        low, high = float(np.nanmin(celsius)), float(np.nanmax(celsius))
    return Thermogram(celsius, (low, high))


def _segments(data: bytes) -> list[bytes]:
    """The bodies of all FLIR segments, in the order of their numbers."""
    parts: list[tuple[int, bytes]] = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        if data[at + 1] == _APP1 and body.startswith(_HEADER):
            parts.append((body[6] if len(body) > 6 else 0, body[8:]))
        at += 2 + length
    return [body for _, body in sorted(parts, key=lambda part: part[0])]


def _records(file: bytes) -> dict[int, bytes]:
    """Type -> body, by the directory; big-endian as cameras write it, or little."""
    if not file.startswith(b"FFF\0"):
        return {}
    order = ">" if struct.unpack_from(">I", file, 0x14)[0] in range(100, 200) else "<"
    start, count = struct.unpack_from(f"{order}II", file, 0x18)
    found: dict[int, bytes] = {}
    for index in range(min(count, _MAX_RECORDS)):
        kind, *_, offset, length = struct.unpack_from(f"{order}HHIIII", file, start + 32 * index)
        if kind and offset + length <= len(file):
            found.setdefault(kind, file[offset : offset + length])
    return found


def _raw(record: bytes, limits: Limits) -> Float64Array:
    order = "<" if record[0] == 2 else ">"
    width, height = struct.unpack_from(f"{order}HH", record, 2)
    check(width * height, limits.pixels, "the raw picture", "pixels")
    if record[32:40] == b"\x89PNG\r\n\x1a\n":
        # FLIR writes the words of its PNGs in the machine's order, not the format's.
        return np.asarray(open_picture(record[32:], limits)).astype(np.uint16).byteswap().astype(np.float64)
    return np.frombuffer(record, f"{order}u2", width * height, 32).reshape(height, width).astype(np.float64)


class _Planck:
    def __init__(self, r1: float, b: float, f: float, o: int, r2: float, emissivity: float, reflected_k: float) -> None:
        self._r1, self._b, self._f, self._o, self._r2 = r1, b, f, o, r2
        self._emissivity = emissivity if 0 < emissivity <= 1 else 1.0
        self._reflected = r1 / (r2 * (np.exp(b / reflected_k) - f)) - o if reflected_k > 0 else 0.0

    def __call__(self, raw: Float64Array) -> Float64Array:
        own = (raw - (1 - self._emissivity) * self._reflected) / self._emissivity
        with np.errstate(divide="ignore", invalid="ignore"):
            kelvin: Float64Array = self._b / np.log(self._r1 / (self._r2 * (own + self._o)) + self._f)
        return np.where(np.isfinite(kelvin) & (kelvin > 0), kelvin - _ZERO_C, np.nan)


def _planck(camera: bytes) -> _Planck:
    emissivity, _, reflected = struct.unpack_from("<fff", camera, 0x20)
    r1, b, f = struct.unpack_from("<fff", camera, 0x58)
    o, r2 = struct.unpack_from("<if", camera, 0x308)
    return _Planck(r1, b, f, o, r2, emissivity, reflected)
