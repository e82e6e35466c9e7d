"""POST /v1/embeddings: unit vectors of the shared space for strings and media."""

import base64
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response

from service.gateway.auth import Access, Caller, Scope
from service.gateway.inference.embedding.answering import EmbedQuestion, cut_of, usage
from service.gateway.inference.embedding.embedder import Embedded
from service.gateway.inference.embedding.inputs import check_inputs, read_inputs
from service.gateway.inference.idempotency import IdempotencyKey
from service.gateway.inference.json_body import read_json
from service.gateway.schema.documented import documented, json_body
from service.gateway.schema.embeddings import EmbedBody, EmbeddingList
from service.gateway.state import gateway_of

router = APIRouter(tags=["inference"])
_BODY = json_body("EmbedBody")


@router.post("/v1/embeddings", response_model=None, responses=documented(EmbeddingList), openapi_extra=_BODY)
async def create_embeddings(
    request: Request, caller: Annotated[Caller, Depends(Access(Scope.EMBED))], idempotency_key: IdempotencyKey = None
) -> Response:
    """Unit vectors, one for each input: a string, token ids of the text tower, or a content part of any modality."""
    gateway = gateway_of(request)
    async with gateway.lease(request, caller.tenant):
        body = await read_json(request, EmbedBody)
        check_inputs(body.input, gateway.limits, "input")
        inputs = await read_inputs(body.input, "input", gateway.sources_of(caller.tenant))

        def answer(found: Embedded, model: str) -> dict[str, Any]:
            rows = [
                {"object": "embedding", "index": at, "embedding": _written(vector, body.encoding_format == "base64")}
                for at, vector in enumerate(found.vectors)
            ]
            return {"object": "list", "data": rows, "model": model, "usage": usage(found)}

        wanted = EmbedQuestion(
            inputs,
            answer,
            body.model,
            cut_of(body),
            body.dimensions,
            body.priority or "interactive",
            tuple(body.model_extra or ()),
            idempotency_key,
        )
        gateway.check_accepting()
        return await gateway.embedding.respond(request, caller, wanted)


def _written(vector: np.ndarray, as_base64: bool) -> list[float] | str:
    """Little-endian float32 as base64, or numbers."""
    if as_base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers
