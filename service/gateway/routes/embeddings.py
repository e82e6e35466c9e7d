"""POST /v1/embeddings: unit vectors of the shared space for strings and media."""

import base64
import time
import uuid
from contextlib import ExitStack
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import JSONResponse

from pandagpt_core.types import ModelInfo
from service.broker.protocol import Done, Embed, Failed, Started, Vectors
from service.gateway import parts, schemas
from service.gateway.answers import EmbeddingList, documented
from service.gateway.auth import Access, Caller, Scope
from service.gateway.bodies import read_json
from service.gateway.errors import GatewayError
from service.gateway.house import House, house_of
from service.gateway.intake import check_modalities
from service.gateway.links import Links
from service.gateway.middleware import CLIENT_GONE
from service.gateway.prepare import Medium, check_totals, read_part, text_medium
from service.gateway.relay import ClientGone, Reader, unless_gone
from service.gateway.schemas import EmbedBody
from service.gateway.sse import failure

router = APIRouter(tags=["inference"])
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EmbedBody"}}},
    }
}


@router.post("/v1/embeddings", response_model=None, responses=documented(EmbeddingList), openapi_extra=_BODY)
async def create_embeddings(request: Request, caller: Annotated[Caller, Depends(Access(Scope.INFER))]) -> Response:
    """Unit vectors, one for each input: a string, or a content part of any modality."""
    house = house_of(request)
    with ExitStack() as lease:
        lease.enter_context(house.admit(request, caller.tenant))
        body = await read_json(request, EmbedBody)
        chars = sum(len(part.text) for part in body.input if isinstance(part, parts.TextPart))
        check_totals(chars, len(body.input), house.bounds, "input")
        info = await house.model(body.model)
        _check_dimensions(body, info)
        links = house.links_of(caller.tenant)
        media = [await _medium(part, f"input[{at}]", links) for at, part in enumerate(body.input)]
        check_modalities(media, info)
        try:
            vectors, tokens = await unless_gone(request.receive, _embed(house, caller, body, info, media))
        except ClientGone:
            return Response(status_code=CLIENT_GONE)
        house.limiter.charge(caller.tenant, tokens)
        return JSONResponse(_answer(vectors, tokens, body, info), headers=schemas.ignored(body.model_extra or ()))


def _check_dimensions(body: EmbedBody, info: ModelInfo) -> None:
    if not info.embedding_dim:
        raise GatewayError("invalid_request", "The model offers no embeddings.", param="model")
    if body.dimensions not in (None, info.embedding_dim):
        raise GatewayError(
            "invalid_request",
            f"dimensions is {body.dimensions}; the model's vectors have {info.embedding_dim}.",
            param="dimensions",
        )


async def _medium(part: parts.TextPart | parts.MediaPart, where: str, links: Links) -> Medium:
    if isinstance(part, parts.TextPart):
        if not part.text:
            raise GatewayError("invalid_request", f"{where} is empty.", param=where)
        return await text_medium(part.text, where, 0)
    return await read_part(part, where, 0, links)


async def _embed(
    house: House, caller: Caller, body: EmbedBody, info: ModelInfo, media: list[Medium]
) -> tuple[list[bytes], int]:
    """The vectors as little-endian float32 bytes, and the prompt's tokens."""
    priority = body.priority or "interactive"
    await house.broker.admissible(info.id, priority)
    parts, arrays = await house.intake.settle(media, info, caller.tenant)
    now = time.time()
    request = Embed(
        id=f"embd-{uuid.uuid4().hex}",
        model=info.id,
        tenant=caller.tenant,
        created=now,
        deadline=now + house.request_timeout_s,
        media=parts,
        priority=priority,
    )
    await house.broker.submit(request, arrays)
    reader = Reader(house.broker.events(request.id, caller.tenant))
    ended = False
    try:
        vectors, tokens = await _vectors(reader)
        ended = True
        return vectors, tokens
    finally:
        await reader.close()
        if not ended:
            house.in_background(house.abandon(request.id, caller.tenant))


async def _vectors(reader: Reader) -> tuple[list[bytes], int]:
    vectors: list[bytes] = []
    tokens = 0
    while True:
        match await reader.next():
            case Started() as started:
                tokens = started.prompt_tokens
            case Vectors() as answer:
                vectors = answer.data
            case Failed() as failed:
                raise failure(failed)
            case Done() as done:
                if done.cancelled:
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
