"""JSON of callers: read within bounds, then parsed straight into its schema.

A body may be large because media travel in it as base64, which is cheap to parse. One that is large in structure
(brackets and commas) is not: the parser holds the event loop, about 0.7 ms for a thousand of them. So it is refused by
counting before anything is built from it. Of an object that names a key twice parsers keep the first or the last, and
the checked value need not be the used one: such a body is refused too. The same holds for a batch's line and a form.
"""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from service.gateway.errors import GatewayError, invalid_request
from service.gateway.inference.parsing.json_scan import JsonScan

MAX_JSON_BYTES = 64 << 20
MAX_STRUCTURE = 60_000  # of , [ { : outside strings
ESCAPE_BYTES = 128  # bytes that take the parser as long as an escape
WIDE_BYTES = 3  # further bytes that take it as long as one among others than ASCII
MAX_WORK = 96 << 20  # bytes, escapes and wide ones counted so: about 60 ms of the parser's time
SLICE = 64 << 10  # bytes scanned at a time
BODY = "The JSON body"

_Model = TypeVar("_Model", bound=BaseModel)


async def read_json_body(request: Request, model: type[_Model]) -> _Model:
    """The body as `model`. Raises `invalid_request` with the field's path, `too_large`."""
    return parsed(await _read(request), model)


def parsed(data: bytes, model: type[_Model]) -> _Model:
    """JSON within the bounds as `model`. Raises `invalid_request` with the field's path."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise invalid_request(error.errors(include_url=False, include_input=False)) from None


async def _read(request: Request) -> bytes:
    kind = request.headers.get("content-type", "application/json").partition(";")[0]
    if kind.strip().lower() != "application/json":
        raise GatewayError("invalid_request", "The body must be application/json.")
    return await JsonBounds().read(_bounded(request.stream()), BODY, "body")


async def _bounded(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        yield chunk
        if total > MAX_JSON_BYTES:
            limit = f"The JSON body is larger than the limit of {MAX_JSON_BYTES} bytes; send large media as a form."
            raise GatewayError("too_large", limit, param="body")


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """Bytes that are in memory already, in slices between which the event loop runs."""
    for at in range(0, len(data), SLICE):
        yield data[at : at + SLICE]
        await asyncio.sleep(0)


class JsonBounds:
    """The bounds of JSON that is parsed together, in one value or several. JSON over one is refused by `code`."""

    def __init__(self, code: str = "too_large") -> None:
        self._code = code
        self._structure = self._work = 0

    async def read(self, chunks: AsyncIterator[bytes], what: str, param: str) -> bytes:
        """The bytes to parse. Raises `code` with the bound and the count so far, `invalid_request` for a doubled key.

        `what` begins the message, `param` is the field.
        """
        kept, scan, total = BytesIO(), JsonScan(), 0  # it grows in place: one copy of 64 MiB holds the loop
        structure, work = self._structure, self._work
        async for chunk in chunks:
            total += len(chunk)
            for at in range(0, len(chunk), SLICE):
                kept.write(scan.feed(chunk[at : at + SLICE]))
                self._structure = structure + scan.structure
                self._work = work + total + ESCAPE_BYTES * scan.escapes + WIDE_BYTES * scan.wide
                self._check(what, param)
        kept.write(scan.rest())
        if scan.has_doubled_key():
            raise GatewayError("invalid_request", f"{what} names a key of an object twice.", param=param)
        return kept.getvalue()

    def _check(self, what: str, param: str) -> None:
        if self._structure > MAX_STRUCTURE:
            found = f"{what} has too many elements: {self._structure} or more; the limit is {MAX_STRUCTURE}."
            raise GatewayError(self._code, found, param=param)
        if self._work > MAX_WORK:
            most = f"{self._work} bytes of work or more; the limit is {MAX_WORK}"
            found = f"{what} has too many escapes or letters beyond ASCII: {most}."
            raise GatewayError(self._code, found, param=param)
