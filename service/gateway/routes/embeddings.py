"""POST /v1/embeddings: unit vectors of the shared space for strings and media."""

import base64
from contextlib import AsyncExitStack
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import JSONResponse

from pandagpt_core.types import ModelInfo
from service.broker.protocol import Done, Failed, Started, Vectors
from service.gateway.auth import Access, Caller, Scope
from service.gateway.errors import GatewayError
from service.gateway.inference.conversation import check_totals
from service.gateway.inference.idempotency import REPLAYED, IdempotencyKey
from service.gateway.inference.json_body import read_json
from service.gateway.inference.service import RequestService, Submitted
from service.gateway.inference.validated import EmbedRequest, RequestLimits
from service.gateway.media.medium import MediaInput, read_part, text_medium
from service.gateway.media.sources import MediaSources
from service.gateway.middleware import CLIENT_CLOSED_REQUEST
from service.gateway.schema import content_parts, examples, requests
from service.gateway.schema.requests import EmbedBody
from service.gateway.schema.responses import EmbeddingList, documented
from service.gateway.state import gateway_of
from service.gateway.streaming.chunks import failure
from service.gateway.streaming.event_stream import (
    ClientDisconnected,
    Events,
    until_disconnect,
    watch_connection,
)

router = APIRouter(tags=["inference"])
_BODY = examples.json_body("EmbedBody", examples.EMBEDDINGS)


@router.post("/v1/embeddings", response_model=None, responses=documented(EmbeddingList), openapi_extra=_BODY)
async def create_embeddings(
    request: Request, caller: Annotated[Caller, Depends(Access(Scope.EMBED))], idempotency_key: IdempotencyKey = None
) -> Response:
    """Unit vectors, one for each input: a string, or a content part of any modality."""
    gateway = gateway_of(request)
    async with AsyncExitStack() as lease:
        await lease.enter_async_context(gateway.lease(request, caller.tenant))
        body = await read_json(request, EmbedBody)
        wanted = await _validated(body, gateway.sources_of(caller.tenant), gateway.limits)
        gateway.check_accepting()
        info = await gateway.requests.model(wanted.model)
        seen = caller.seen
        seen.model, seen.priority = info.id, wanted.priority
        _check_dimensions(wanted, info)
        embedding = _embed(gateway.requests, wanted, info, caller, idempotency_key)
        gone = await lease.enter_async_context(watch_connection(request.receive))
        try:
            vectors, tokens, submitted = await until_disconnect(gone, embedding, gateway.leaving)
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        seen.charged, seen.prompt_tokens = not submitted.replayed, tokens
        await gateway.limiter.charge(caller.tenant, tokens)
        replayed = REPLAYED if submitted.replayed else {}
        headers = {**requests.ignored(wanted.ignored), **requests.warned(submitted.warnings), **replayed}
        return JSONResponse(_answer(vectors, tokens, wanted, info), headers=headers)


async def _validated(body: EmbedBody, sources: MediaSources, limits: RequestLimits) -> EmbedRequest:
    chars = sum(len(part.text) for part in body.input if isinstance(part, content_parts.TextPart))
    check_totals(chars, len(body.input), limits, "input")
    return EmbedRequest(
        tuple([await _medium(part, f"input[{at}]", sources) for at, part in enumerate(body.input)]),
        model=body.model,
        priority=body.priority or "interactive",
        base64=body.encoding_format == "base64",
        dimensions=body.dimensions,
        ignored=tuple(body.model_extra or ()),
    )


def _check_dimensions(wanted: EmbedRequest, info: ModelInfo) -> None:
    if not info.embedding_dim:
        raise GatewayError("invalid_request", "The model offers no embeddings.", param="model")
    if wanted.dimensions not in (None, info.embedding_dim):
        raise GatewayError(
            "invalid_request",
            f"dimensions is {wanted.dimensions}; the model's vectors have {info.embedding_dim}.",
            param="dimensions",
        )


async def _medium(
    part: content_parts.TextPart | content_parts.MediaPart, where: str, sources: MediaSources
) -> MediaInput:
    if isinstance(part, content_parts.TextPart):
        if not part.text:
            raise GatewayError("invalid_request", f"{where} is empty.", param=where)
        return await text_medium(part.text, where, 0)
    return await read_part(part, where, 0, sources)


async def _embed(
    service: RequestService, wanted: EmbedRequest, info: ModelInfo, caller: Caller, key: str | None
) -> tuple[list[bytes], int, Submitted]:
    """The vectors as little-endian float32 bytes, the prompt's tokens, and the request."""
    submitted = await service.embed(wanted, info, caller, key)
    events = service.broker.follow(submitted.record)
    ended = False
    try:
        vectors, tokens = await _vectors(events)
        ended = True
        return vectors, tokens, submitted
    finally:
        if not ended and key is None:  # a client that gave a key may come back for the answer
            service.leave(submitted.record)
        await events.aclose()


async def _vectors(events: Events) -> tuple[list[bytes], int]:
    vectors: list[bytes] = []
    tokens = 0
    while True:
        for event in await anext(events):
            match event:
                case Started():
                    tokens = event.prompt_tokens
                case Vectors():
                    vectors = event.data
                case Failed():
                    raise failure(event)
                case Done():
                    if event.cancelled:
                        raise GatewayError("invalid_request", "The request was cancelled.")
                    return vectors, tokens
                case _:
                    pass


def _answer(vectors: list[bytes], tokens: int, wanted: EmbedRequest, info: ModelInfo) -> dict[str, Any]:
    def one(data: bytes) -> list[float] | str:
        if wanted.base64:
            return base64.b64encode(data).decode()
        numbers: list[float] = np.frombuffer(data, "<f4").tolist()
        return numbers

    rows = [{"object": "embedding", "index": at, "embedding": one(data)} for at, data in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": rows, "model": info.id, "usage": usage}
