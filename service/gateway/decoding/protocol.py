"""The pipe between a gateway and its decoding children: typed headers by msgspec, raw bytes behind them, no pickle.

A frame is a little-endian length, a MessagePack header of that length, then `size` raw bytes where the header has them.
Imports nothing of HTTP: the child reads this file too.
"""

import struct

import msgspec

from pandagpt_core.media.notes import Notes

MAX_HEADER_BYTES = 64 * 1024
LIBRARIES = "libraries"  # the argument of a child that reads what only large libraries read
LENGTH = struct.Struct("<I")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all headers."""


class DecoderReady(Header, frozen=True, tag="ready"):
    """The child's first word: which protections hold, and why each other one does not."""

    enforced: list[str]
    absent: dict[str, str] = {}


class DecodeJob(Header, frozen=True, tag="job"):
    """One medium of `size` bytes to decode. `cpu_s` is its share of processor time."""

    recipe: str
    params: dict[str, float | str]
    size: int
    cpu_s: float


class Decoded(Header, frozen=True, tag="decoded"):
    """An array; its `size` bytes follow, little-endian and in C order. `notes` are what its reader remarked."""

    dtype: str
    shape: list[int]
    size: int
    notes: Notes = Notes()


class Refused(Header, frozen=True, tag="refused"):
    """The bytes are not what they claim to be, or beyond a limit; in words that a caller may read."""

    code: str
    message: str
    param: str | None = None


to_child = msgspec.msgpack.Decoder(DecodeJob)
from_child = msgspec.msgpack.Decoder(DecoderReady | Decoded | Refused)
_encode = msgspec.msgpack.Encoder().encode


def pack(header: Header) -> bytes:
    body = _encode(header)
    return LENGTH.pack(len(body)) + body
