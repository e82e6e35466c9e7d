"""A synthesised FLIR radiometric JPEG in the layout that ExifTool documents. No camera's file was at hand."""

import io
import struct

import numpy as np
from PIL import Image

CONSTANTS = {"r1": 21106.77, "b": 1501.0, "f": 1.0, "o": -7340, "r2": 0.012545258}  # of a FLIR E40, by ExifTool's forum
EMISSIVITY, REFLECTED_K, ZERO_C = 0.95, 293.15, 273.15
MOST = 65_535 - 2 - 8  # bytes of a segment's body behind its length and FLIR's head


def scene(width: int = 320, height: int = 240) -> np.ndarray:
    """Degrees Celsius, 20 to 60, a warm spot in the middle, with a sensor's noise."""
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot((x - width / 2) / width, (y - height / 2) / height)
    noise = np.random.default_rng(0).normal(0, 0.3, (height, width))
    return 20.0 + 40.0 * np.exp(-20 * distance**2) + noise


def counts(celsius: np.ndarray) -> np.ndarray:
    """The sensor's 16 bits for these temperatures: Planck's law, with what the surface reflects."""
    r1, b, f, o, r2 = CONSTANTS.values()

    def raw(kelvin: np.ndarray | float) -> np.ndarray:
        return r1 / (r2 * (np.exp(b / np.asarray(kelvin)) - f)) - o

    mixed = EMISSIVITY * raw(celsius + ZERO_C) + (1 - EMISSIVITY) * raw(REFLECTED_K)
    return np.rint(mixed).astype(np.uint16)


def radiometric(
    celsius: np.ndarray | None = None, png: bool = True, big_endian: bool = True, exif_bytes: int = 0
) -> bytes:
    """The picture with its FLIR segments, behind `exif_bytes` of EXIF; the counts as PNG or as plain words."""
    celsius = scene() if celsius is None else celsius
    raw = counts(celsius)
    file = _fff([(1, _raw_record(raw, png)), (0x20, _camera_record(raw))], ">" if big_endian else "<")
    picture = io.BytesIO()
    Image.fromarray(np.uint8(celsius * 2)).save(picture, "JPEG")
    body = picture.getvalue()
    before = _segment(b"Exif\0\0" + b"\0" * exif_bytes) if exif_bytes else b""
    xmp = _segment(b"http://ns.adobe.com/xap/1.0/\0<x/>")
    return body[:2] + before + xmp + _flir_segments(file) + body[2:]


def _flir_segments(file: bytes) -> bytes:
    parts = [file[at : at + MOST] for at in range(0, len(file), MOST)]
    return b"".join(_segment(b"FLIR\0\x01" + bytes([index, len(parts) - 1]) + part) for index, part in enumerate(parts))


def _segment(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def _fff(records: list[tuple[int, bytes]], order: str) -> bytes:
    """Head of 64 bytes, directory of 32 bytes a record, records."""
    start = 0x40
    at = start + 32 * len(records)
    directory = b""
    for number, (kind, record) in enumerate(records):
        directory += struct.pack(f"{order}HHIIIIIII", kind, 0, 100, number, at, len(record), 0, 0, 0)
        at += len(record)
    head = b"FFF\0" + b"SYNTHESISED".ljust(16, b"\0") + struct.pack(f"{order}III", 101, start, len(records))
    return head.ljust(start, b"\0") + directory + b"".join(record for _, record in records)


def _raw_record(raw: np.ndarray, png: bool) -> bytes:
    head = struct.pack("<HHH", 2, raw.shape[1], raw.shape[0]).ljust(0x20, b"\0")
    if not png:
        return head + raw.astype("<u2").tobytes()
    out = io.BytesIO()
    Image.fromarray(raw.byteswap()).save(out, "PNG")  # cameras write the words of the PNG in the other order
    return head + out.getvalue()


def _camera_record(raw: np.ndarray) -> bytes:
    body = bytearray(0x400)
    struct.pack_into("<fff", body, 0x20, EMISSIVITY, 1.0, REFLECTED_K)
    struct.pack_into("<fff", body, 0x58, CONSTANTS["r1"], CONSTANTS["b"], CONSTANTS["f"])
    struct.pack_into("<if", body, 0x308, int(CONSTANTS["o"]), CONSTANTS["r2"])
    low, high = int(raw.min()), int(raw.max())
    struct.pack_into("<ii", body, 0x338, (low + high) // 2, high - low)
    return bytes(body)
