"""The lines of a batch's file, a few at a time: memory holds a piece and a line, for any size of the file."""

from codecs import BOM_UTF8
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec

from service.gateway.errors import GatewayError
from service.gateway.inference.parsing.json_scan import JsonScan

MAX_LINES = 50_000
MAX_LINE_BYTES = 8 << 20
MAX_ENVELOPE_BYTES = 64 << 10  # of a line without its body
METHOD = "POST"


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A request of a batch. `number` counts the file's lines from 0; `body` is JSON."""

    number: int
    custom_id: str
    url: str
    body: bytes


class _Line(msgspec.Struct):
    custom_id: str
    url: str
    body: msgspec.Raw
    method: str = METHOD


_decoder = msgspec.json.Decoder(_Line)


async def split_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """Numbered lines that hold something, without a byte order mark. Raises `invalid_request` for one too long."""
    rest, number = b"", 0
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield number, _without_mark(number, line)
            number += 1
        if len(rest) > MAX_LINE_BYTES:
            raise GatewayError("invalid_request", f"Line {number} is longer than {MAX_LINE_BYTES} bytes.")
    if rest.strip():
        yield number, _without_mark(number, rest)


def _without_mark(number: int, line: bytes) -> bytes:
    """Editors of Windows begin a file of UTF-8 with a byte order mark."""
    return line.removeprefix(BOM_UTF8) if number == 0 else line


def read_line(number: int, line: bytes, endpoint: str) -> BatchLine:
    """Raises `invalid_request` with what is wrong."""
    try:
        found = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        wanted = "an object with custom_id, method, url and body"
        raise GatewayError("invalid_request", f"must be {wanted}.") from None
    if not bytes(found.body).startswith(b"{"):
        raise GatewayError("invalid_request", "must be an object.", param="body")
    if not 0 < len(found.custom_id) <= 512:
        raise GatewayError("invalid_request", "must have 1 to 512 characters.", param="custom_id")
    if found.method != METHOD or found.url != endpoint:
        raise GatewayError("invalid_request", f"must be {METHOD} {endpoint}, the batch's endpoint.", param="url")
    return BatchLine(number, found.custom_id, found.url, bytes(found.body))


def check_keys(line: bytes, body: bytes) -> None:
    """Raises `invalid_request` for a line that names one of its own keys twice; its body is checked when it runs."""
    envelope = line.replace(body, b"{}", 1)
    if len(envelope) > MAX_ENVELOPE_BYTES:
        size = f"has {len(envelope)} bytes beside its body; the limit is {MAX_ENVELOPE_BYTES}."
        raise GatewayError("invalid_request", size)
    scan = JsonScan()
    scan.feed(envelope)
    if scan.has_doubled_key():
        raise GatewayError("invalid_request", "names a key twice.")


async def checked(pieces: AsyncIterator[bytes], endpoint: str) -> tuple[int, list[dict[str, Any]]]:
    """Number of requests in the file, and the first mistakes in it."""
    seen: set[int] = set()  # hashes of ids: a text may be long
    errors: list[dict[str, Any]] = []
    try:
        async for number, line in split_lines(pieces):
            try:
                found = read_line(number, line, endpoint)
                check_keys(line, found.body)
                if hash(found.custom_id) in seen:
                    raise GatewayError("invalid_request", "is there twice.", param="custom_id")
                seen.add(hash(found.custom_id))
                if len(seen) > MAX_LINES:
                    raise GatewayError("invalid_request", f"is beyond the {MAX_LINES} requests of a batch.")
            except GatewayError as error:
                errors.append(_error(error, number))
            if len(errors) >= 20:
                break
    except GatewayError as error:
        errors.append(_error(error, None))
    if not seen and not errors:
        errors.append(_error(GatewayError("invalid_request", "The file holds no request."), None))
    return len(seen), errors


def _error(error: GatewayError, number: int | None) -> dict[str, Any]:
    place = "" if number is None else f"Line {number + 1}: {error.param or 'it'} "
    line = None if number is None else number + 1
    return {"code": error.code, "message": f"{place}{error.message}", "param": error.param, "line": line}
