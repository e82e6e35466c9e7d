"""Large answers as JSON, encoded in slices: between them the event loop serves other streams."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from starlette.responses import Response

SLICE = 256  # items of a list at once
TURN = 1 << 17  # bytes encoded in one turn of the loop
_PIECE = 64  # bytes that a piece counts beside its own
_encode = msgspec.json.Encoder().encode


async def json_answer(content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """The answer 200 with this body."""
    return Response(await json_bytes(content), media_type="application/json", headers=headers)


async def json_bytes(content: Any) -> bytes:
    """The content as JSON of one line."""
    parts: list[bytes] = []
    made = 0
    for piece in _pieces(content):
        parts.append(piece)
        made += len(piece) + _PIECE
        if made > TURN:
            made = 0
            await asyncio.sleep(0)
    whole = b"".join(parts)
    await asyncio.sleep(0)  # the caller copies it again
    return whole


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        before = b"{"
        for name, field in value.items():
            yield before + _encode(name) + b":"
            yield from _pieces(field)
            before = b","
        yield b"}" if value else b"{}"
    elif isinstance(value, list) and len(value) > SLICE:
        yield b"["
        for at in range(0, len(value), SLICE):
            yield (b"," if at else b"") + _encode(value[at : at + SLICE])[1:-1]
        yield b"]"
    elif isinstance(value, list):
        before = b"["
        for item in value:
            yield before
            yield from _pieces(item)
            before = b","
        yield b"[]" if before == b"[" else b"]"
    else:
        yield _encode(value)
