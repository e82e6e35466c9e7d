"""POST /v1/embeddings: unit vectors of the shared space for strings and media."""

import asyncio
import base64
import time
from contextlib import suppress
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import JSONResponse

from pandagpt_core.types import ModelInfo
from service.broker.errors import DuplicateRequest, UnknownRequest
from service.broker.gateway.request_record import RequestRecord
from service.broker.keys import new_request_id
from service.broker.protocol import Done, Embed, Failed, Started, Vectors
from service.gateway.auth import Access, Caller, Scope
from service.gateway.errors import GatewayError
from service.gateway.inference.idempotency import REPLAYED, IdempotencyKey, IdempotentRequest, fingerprint_of_inputs
from service.gateway.inference.json_body import read_json
from service.gateway.inference.validated import MediaInput, check_totals, read_part, text_medium
from service.gateway.media.resolve import check_modalities
from service.gateway.media.sources import MediaSources
from service.gateway.middleware import CLIENT_CLOSED_REQUEST
from service.gateway.observation import observation_of
from service.gateway.openapi import examples
from service.gateway.schema import content_parts, requests
from service.gateway.schema.requests import EmbedBody
from service.gateway.schema.responses import EmbeddingList, documented
from service.gateway.state import GatewayState, gateway_of
from service.gateway.streaming.chunks import failure
from service.gateway.streaming.event_stream import ClientDisconnected, Events, until_disconnect

router = APIRouter(tags=["inference"])
_BODY = examples.json_body("EmbedBody", examples.EMBEDDINGS)


@router.post("/v1/embeddings", response_model=None, responses=documented(EmbeddingList), openapi_extra=_BODY)
async def create_embeddings(
    request: Request, caller: Annotated[Caller, Depends(Access(Scope.EMBED))], idempotency_key: IdempotencyKey = None
) -> Response:
    """Unit vectors, one for each input: a string, or a content part of any modality."""
    gateway = gateway_of(request)
    async with gateway.admit(request, caller.tenant):
        body = await read_json(request, EmbedBody)
        chars = sum(len(part.text) for part in body.input if isinstance(part, content_parts.TextPart))
        check_totals(chars, len(body.input), gateway.bounds, "input")
        info = await gateway.model(body.model)
        seen = observation_of(request.scope)
        seen.model, seen.priority = info.id, body.priority or "interactive"
        _check_dimensions(body, info)
        links = gateway.links_of(caller.tenant)
        media = [await _medium(part, f"input[{at}]", links) for at, part in enumerate(body.input)]
        check_modalities(media, info)
        wanted = fingerprint_of_inputs(media, info.id, body.encoding_format, body.dimensions)
        turn = await gateway.retries.begin(caller.tenant, idempotency_key, new_request_id("embd", info.id), wanted)
        try:
            vectors, tokens = await until_disconnect(
                request.receive, _embed(gateway, turn, body, info, media), gateway.leaving
            )
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        seen.charged, seen.prompt_tokens = not turn.again, tokens
        await gateway.limiter.charge(caller.tenant, tokens)
        headers = {**requests.ignored(body.model_extra or ()), **(REPLAYED if turn.again else {})}
        return JSONResponse(_answer(vectors, tokens, body, info), headers=headers)


def _check_dimensions(body: EmbedBody, info: ModelInfo) -> None:
    if not info.embedding_dim:
        raise GatewayError("invalid_request", "The model offers no embeddings.", param="model")
    if body.dimensions not in (None, info.embedding_dim):
        raise GatewayError(
            "invalid_request",
            f"dimensions is {body.dimensions}; the model's vectors have {info.embedding_dim}.",
            param="dimensions",
        )


async def _medium(
    part: content_parts.TextPart | content_parts.MediaPart, where: str, links: MediaSources
) -> MediaInput:
    if isinstance(part, content_parts.TextPart):
        if not part.text:
            raise GatewayError("invalid_request", f"{where} is empty.", param=where)
        return await text_medium(part.text, where, 0)
    return await read_part(part, where, 0, links)


async def _embed(
    gateway: GatewayState, turn: IdempotentRequest, body: EmbedBody, info: ModelInfo, media: list[MediaInput]
) -> tuple[list[bytes], int]:
    """The vectors as little-endian float32 bytes, and the prompt's tokens."""
    record = await _enter(gateway, turn, body, info, media)
    events = gateway.broker.follow(record)
    ended = False
    try:
        vectors, tokens = await _vectors(events)
        ended = True
        return vectors, tokens
    finally:
        await events.aclose()
        if not ended and turn.key is None:  # whoever gave a key may come back for the answer
            gateway.in_background(gateway.abandon(turn.id, turn.tenant))


async def _enter(
    gateway: GatewayState, turn: IdempotentRequest, body: EmbedBody, info: ModelInfo, media: list[MediaInput]
) -> RequestRecord:
    """The record of the request that answers: a new one, or the one that was sent before."""
    if turn.again:
        with suppress(UnknownRequest):
            return await gateway.broker.find(turn.id, turn.tenant)
    try:
        return await _submit(gateway, turn, body, info, media)
    except DuplicateRequest:  # sent twice at once: the other one runs
        return await gateway.broker.find(turn.id, turn.tenant)
    except BaseException:
        await asyncio.shield(gateway.retries.give_up(turn))
        raise


async def _submit(
    gateway: GatewayState, turn: IdempotentRequest, body: EmbedBody, info: ModelInfo, media: list[MediaInput]
) -> RequestRecord:
    priority = body.priority or "interactive"
    resolved = await gateway.intake.resolve(media, info, turn.tenant, priority)
    now = time.time()
    request = Embed(
        id=turn.id,
        model=info.id,
        tenant=turn.tenant,
        created=now,
        deadline=now + gateway.request_timeout_s,
        media=resolved.refs,
        priority=priority,
    )
    return await gateway.broker.submit(request, resolved.arrays, capacity=resolved.capacity)


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


def _answer(vectors: list[bytes], tokens: int, body: EmbedBody, info: ModelInfo) -> dict[str, Any]:
    def one(data: bytes) -> list[float] | str:
        if body.encoding_format == "base64":
            return base64.b64encode(data).decode()
        numbers: list[float] = np.frombuffer(data, "<f4").tolist()
        return numbers

    rows = [{"object": "embedding", "index": at, "embedding": one(data)} for at, data in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": rows, "model": info.id, "usage": usage}
