"""POST /v1/embeddings: unit vectors of the shared space for strings and media."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.inference.embedding.answering import EmbedQuestion, cut_of, embedding_list
from service.gateway.inference.embedding.inputs import check_inputs, read_inputs
from service.gateway.inference.idempotency import IdempotencyKey
from service.gateway.inference.parsing.json_body import read_json_body
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
        body = await read_json_body(request, EmbedBody)
        check_inputs(body.input, gateway.limits, "input")
        inputs = await read_inputs(body.input, "input", gateway.sources_of(caller.tenant))

        wanted = EmbedQuestion(
            inputs,
            partial(embedding_list, as_base64=body.encoding_format == "base64"),
            body.model,
            cut_of(body),
            body.dimensions,
            body.priority or "interactive",
            tuple(body.model_extra or ()),
            idempotency_key,
        )
        return await gateway.embedding.respond(request, caller, wanted)
