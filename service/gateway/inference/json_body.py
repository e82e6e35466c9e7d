"""JSON bodies: read within bounds, then parsed straight into their schema.

A body may be large because media travel in it as base64, which is cheap to parse. One that is large in structure
(millions of brackets and commas) is not, and is refused by counting before anything is built from it.
"""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from service.gateway.errors import GatewayError, invalid_request

MAX_JSON_BYTES = 64 << 20
MAX_STRUCTURE = 400_000  # of , [ { : over the whole body; 200,000 characters of text stay far below
MAX_ESCAPES = 4 << 20  # some clients escape each slash of base64

_Model = TypeVar("_Model", bound=BaseModel)


async def read_json(request: Request, model: type[_Model]) -> _Model:
    """The body as `model`. Raises `invalid_request` with the field's path, `too_large`."""
    try:
        return model.model_validate_json(await _read(request))
    except ValidationError as error:
        raise invalid_request(error.errors(include_url=False, include_input=False)) from None


async def _read(request: Request) -> bytes:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise GatewayError("invalid_request", "The body must be application/json.")
    chunks, total, structure, escapes = [], 0, 0, 0
    async for chunk in request.stream():
        total += len(chunk)
        structure += sum(chunk.count(mark) for mark in (b",", b"[", b"{", b":"))
        escapes += chunk.count(b"\\")
        if total > MAX_JSON_BYTES:
            limit = f"The JSON body is larger than the limit of {MAX_JSON_BYTES} bytes; send large media as a form."
            raise GatewayError("too_large", limit, param="body")
        if structure > MAX_STRUCTURE or escapes > MAX_ESCAPES:
            raise GatewayError("too_large", "The JSON body has too many elements.", param="body")
        chunks.append(chunk)
    return b"".join(chunks)
