"""JSON bodies: read within bounds, then parsed straight into their schema.

A body may be large because media travel in it as base64, which is cheap to parse. One that is large in structure
(brackets and commas) is not: the parser holds the event loop, about 0.7 ms for a thousand of them. So it is refused by
counting before anything is built from it. Of an object that names a key twice parsers keep the first or the last, and
what was checked need not be what is used: such a body is refused too.
"""

import re
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from service.gateway.errors import GatewayError, invalid_request
from service.gateway.inference.parsing.json_scan import JsonScan

MAX_JSON_BYTES = 64 << 20
MAX_STRUCTURE = 60_000  # of , [ { : outside strings
ESCAPE_BYTES = 128  # that take the parser as long as an escape does
MAX_WORK = 112 << 20  # bytes, escapes counted so: about 100 ms of the parser's time
SLICE = 64 << 10  # bytes scanned at a time
_CHARSET = re.compile(r"charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)

_Model = TypeVar("_Model", bound=BaseModel)


async def read_json(request: Request, model: type[_Model]) -> _Model:
    """The body as `model`. Raises `invalid_request` with the field's path, `too_large`."""
    try:
        return model.model_validate_json(await _read(request))
    except ValidationError as error:
        raise invalid_request(error.errors(include_url=False, include_input=False)) from None


async def _read(request: Request) -> bytes:
    kind, _, parameters = request.headers.get("content-type", "application/json").partition(";")
    if kind.strip().lower() != "application/json":
        raise GatewayError("invalid_request", "The body must be application/json.")
    charset = _CHARSET.search(parameters)
    if charset is not None and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise GatewayError("invalid_request", "The body's charset must be utf-8.")
    chunks, total, scan = [], 0, JsonScan()
    async for chunk in request.stream():
        total += len(chunk)
        for at in range(0, len(chunk), SLICE):
            chunks.append(scan.feed(chunk[at : at + SLICE]))
            if scan.structure > MAX_STRUCTURE or total + ESCAPE_BYTES * scan.escapes > MAX_WORK:
                raise GatewayError("too_large", "The JSON body has too many elements or escapes.", param="body")
        if total > MAX_JSON_BYTES:
            limit = f"The JSON body is larger than the limit of {MAX_JSON_BYTES} bytes; send large media as a form."
            raise GatewayError("too_large", limit, param="body")
    chunks.append(scan.rest())
    if scan.has_doubled_key():
        raise GatewayError("invalid_request", "The JSON body names a key of an object twice.", param="body")
    return b"".join(chunks)
