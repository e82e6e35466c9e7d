"""POST /v1/generate: files and fields, for curl and plain REST callers."""

from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from service.gateway.auth import Access, Caller, Scope
from service.gateway.inference.form import FILE_FIELDS, from_form
from service.gateway.inference.idempotency import IdempotencyKey
from service.gateway.media.multipart import read_form
from service.gateway.schema.requests import GenerateForm, never_null
from service.gateway.schema.responses import EVENTS, ChatCompletion, documented
from service.gateway.state import gateway_of

router = APIRouter()


def _form_schema() -> dict[str, Any]:
    """The schema of the fields, and beside them the files and the fields that hold JSON."""
    schema = GenerateForm.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["properties"] = {name: never_null(field) for name, field in schema["properties"].items()}
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    text = {"type": "array", "items": {"type": "string", "minLength": 1}, "description": "Context texts"}
    apart = {name: {"type": "string", "description": what} for name, what in _AS_JSON.items()}
    schema["properties"] |= dict.fromkeys(FILE_FIELDS, files) | {"text": text} | apart
    return {"content": {"multipart/form-data": {"schema": schema}}, "required": True}


_AS_JSON = {
    "messages": "Earlier turns, as JSON",
    "options": "JSON: the model's options by name",
    "boxes": "JSON: [[left, top, right, bottom], ...] in pixels, or by boxes_unit of 0 to 1",
    "weights": "JSON: field name to a list of numbers",
    "stream_options": 'JSON: {"include_usage": true}; the same as the field include_usage',
}


@router.post(
    "/v1/generate",
    response_model=None,
    responses=documented(ChatCompletion, EVENTS),
    openapi_extra={"requestBody": _form_schema()},
    tags=["inference"],
)
async def generate(
    request: Request, caller: Annotated[Caller, Depends(Access(Scope.INFER))], idempotency_key: IdempotencyKey = None
) -> Response:
    """Answer a prompt about any mix of uploaded media. Answers and streams as chat completions do."""
    gateway = gateway_of(request)
    async with AsyncExitStack() as lease:
        await lease.enter_async_context(gateway.lease(request, caller.tenant))
        form = await read_form(request.headers.get("content-type"), request.stream(), gateway.form_limits)
        wanted = await from_form(form, gateway.sources_of(caller.tenant), gateway.limits)
        gateway.check_accepting()
        return await gateway.responder.respond(request, caller, wanted, idempotency_key, lease)
