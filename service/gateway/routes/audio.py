"""POST /v1/audio/transcriptions and /v1/audio/translations: the words in a sound, in OpenAI's shapes."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.inference.idempotency import IdempotencyKey
from service.gateway.inference.parsing.speech import GRANULARITIES, transcription, translation
from service.gateway.inference.validated import RequestLimits, TranscribeRequest
from service.gateway.media.multipart import Form, read_form
from service.gateway.media.sources import MediaSources
from service.gateway.schema.audio import Transcription, TranscriptionForm, TranslationForm
from service.gateway.schema.documented import EVENTS, documented, form_body
from service.gateway.schema.requests import never_null
from service.gateway.state import gateway_of

router = APIRouter(tags=["inference"])
_User = Annotated[Caller, Depends(Access(Scope.INFER))]
_Reader = Callable[[Form, MediaSources, RequestLimits], Awaitable[TranscribeRequest]]
_APART = {
    "file": {"type": "string", "format": "binary", "description": "The sound, in any format of docs/media.md"},
    GRANULARITIES: {
        "type": "array",
        "items": {"type": "string", "enum": ["segment", "word"]},
        "description": "Of `verbose_json`: whose times are given. Default: segment.",
    },
}


def _body(form: type[BaseModel]) -> dict[str, Any]:
    fields = form.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
    return form_body({name: never_null(field) for name, field in fields.items()} | _APART, ["file"])


@router.post(
    "/v1/audio/transcriptions",
    response_model=None,
    responses=documented(Transcription, EVENTS, "text/plain", "text/vtt"),
    openapi_extra=_body(TranscriptionForm),
)
async def create_transcription(request: Request, caller: _User, idempotency_key: IdempotencyKey = None) -> Response:
    """The words in a sound, in their own language."""
    return await _respond(request, caller, idempotency_key, transcription)


@router.post(
    "/v1/audio/translations",
    response_model=None,
    responses=documented(Transcription, "text/plain", "text/vtt"),
    openapi_extra=_body(TranslationForm),
)
async def create_translation(request: Request, caller: _User, idempotency_key: IdempotencyKey = None) -> Response:
    """The words in a sound, in English."""
    return await _respond(request, caller, idempotency_key, translation)


async def _respond(request: Request, caller: Caller, key: str | None, read: _Reader) -> Response:
    gateway = gateway_of(request)
    limits = replace(gateway.form_limits, file_fields={"file": gateway.form_limits.file_fields["audio"]}, max_files=1)
    async with AsyncExitStack() as lease:
        await lease.enter_async_context(gateway.lease(request, caller.tenant))
        form = await read_form(request.headers.get("content-type"), request.stream(), limits)
        wanted = await read(form, gateway.sources_of(caller.tenant), gateway.limits)
        return await gateway.responder.respond(request, caller, wanted, key, lease)
