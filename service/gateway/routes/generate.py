"""POST /v1/generate: files and fields, for curl and plain REST callers."""

from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from pandagpt_core.modalities import MODALITIES
from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.inference.idempotency import IdempotencyKey
from service.gateway.inference.parsing.form import FILE_FIELDS, from_form
from service.gateway.media.multipart import read_form
from service.gateway.schema.answers import ChatCompletion
from service.gateway.schema.documented import EVENTS, documented, file_field, form_body
from service.gateway.schema.requests import GenerateForm, never_null
from service.gateway.state import gateway_of

router = APIRouter()


_AS_JSON = {
    "messages": "Earlier turns, as JSON. Default: none.",
    "options": "JSON: the model's options by name. Default: the model's.",
    "boxes": "JSON: [[left, top, right, bottom], ...], as `boxes_unit` says. Default: none.",
    "weights": "JSON: field name to a list of its media's shares, 0 to 100. Default: 1 for each.",
    "stream_options": 'JSON: {"include_usage": true}; the same as the field include_usage. Default: nothing.',
}
_TEXT = {
    "type": "array",
    "items": {"type": "string", "minLength": 1},
    "description": "Words for the text encoder, beside the media and not in the prompt. Default: none.",
}


def request_body() -> dict[str, Any]:
    """The fields, and beside them the files and the fields that hold JSON."""
    schema = GenerateForm.model_json_schema(ref_template="#/components/schemas/{model}")
    fields = {name: never_null(field) for name, field in schema["properties"].items()}
    files = {name: file_field(f"{MODALITIES[name].about.capitalize()}. Default: none.") for name in FILE_FIELDS}
    apart = {name: {"type": "string", "description": what} for name, what in _AS_JSON.items()}
    return form_body(fields | files | {"text": _TEXT} | apart, schema["required"])


@router.post(
    "/v1/generate",
    response_model=None,
    responses=documented(ChatCompletion, EVENTS),
    openapi_extra=request_body(),
    tags=["inference"],
)
async def generate(
    request: Request, caller: Annotated[Caller, Depends(Access(Scope.INFER))], idempotency_key: IdempotencyKey = None
) -> Response:
    """Answer a prompt about any mix of uploaded media. Answers and streams as chat completions do."""
    gateway = gateway_of(request)
    sources = gateway.sources_of(caller.tenant)
    async with AsyncExitStack() as lease:
        await lease.enter_async_context(gateway.lease(request, caller.tenant))
        form = await read_form(request.headers.get("content-type"), request.stream(), gateway.form_limits)
        wanted = await from_form(form, sources, gateway.limits)
        return await gateway.responder.respond(request, caller, wanted, idempotency_key, lease)
