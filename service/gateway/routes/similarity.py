"""POST /v1/rerank and /v1/score: how similar media and texts are, by the cosine of their vectors."""

import time
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response

from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.errors import GatewayError
from service.gateway.inference.embedding.answering import EmbedQuestion, cut_of, embedding_usage
from service.gateway.inference.embedding.embedder import Embedded
from service.gateway.inference.embedding.inputs import EmbedInput, check_inputs, read_inputs
from service.gateway.inference.parsing.json_body import read_json_body
from service.gateway.schema.content_parts import ContextTextPart, TextPart
from service.gateway.schema.documented import documented, json_body
from service.gateway.schema.embeddings import RerankBody, Reranking, ScoreBody, ScoreList
from service.gateway.state import gateway_of

router = APIRouter(tags=["inference"])
_User = Annotated[Caller, Depends(Access(Scope.EMBED))]
_RERANK = json_body("RerankBody")
_SCORE = json_body("ScoreBody")


@router.post("/v1/rerank", response_model=None, responses=documented(Reranking), openapi_extra=_RERANK)
async def rerank(request: Request, caller: _User) -> Response:
    """Documents in the order of their similarity with a query: texts and media of any modality, on either side."""
    gateway = gateway_of(request)
    async with gateway.lease(request, caller.tenant):
        body = await read_json_body(request, RerankBody)
        check_inputs([*body.query, *body.documents], gateway.limits, "documents")
        sources = gateway.sources_of(caller.tenant)
        query = [EmbedInput("query", one.text, one.medium) for one in await read_inputs(body.query, "query", sources)]
        documents = await read_inputs(body.documents, "documents", sources)

        def answer(found: Embedded, model: str) -> dict[str, Any]:
            scores = found.vectors[1:] @ found.vectors[0]
            best = np.argsort(-scores, kind="stable")[: body.top_n]
            results = [_result(int(at), float(scores[at]), body) for at in best]
            return {
                "id": found.submitted.record.id,
                "model": model,
                "results": results,
                "usage": embedding_usage(found),
            }

        wanted = EmbedQuestion(
            [*query, *documents], answer, body.model, cut_of(body), ignored=tuple(body.model_extra or ())
        )
        return await gateway.embedding.respond(request, caller, wanted)


@router.post("/v1/score", response_model=None, responses=documented(ScoreList), openapi_extra=_SCORE)
async def score(request: Request, caller: _User) -> Response:
    """Similarity of one input to each of others, or of the two of each pair."""
    gateway = gateway_of(request)
    async with gateway.lease(request, caller.tenant):
        body = await read_json_body(request, ScoreBody)
        check_inputs([*body.text_1, *body.text_2], gateway.limits, "text_2")
        _check_pairs(len(body.text_1), len(body.text_2))
        sources = gateway.sources_of(caller.tenant)
        first = await read_inputs(body.text_1, "text_1", sources)
        second = await read_inputs(body.text_2, "text_2", sources)

        def answer(found: Embedded, model: str) -> dict[str, Any]:
            left, right = found.vectors[: len(first)], found.vectors[len(first) :]
            scores = (left * right).sum(axis=1)  # [1 or N, E] with [N, E]
            rows = [{"index": at, "object": "score", "score": float(value)} for at, value in enumerate(scores)]
            head = {"id": found.submitted.record.id, "object": "list", "created": int(time.time()), "model": model}
            return {**head, "data": rows, "usage": embedding_usage(found)}

        wanted = EmbedQuestion(
            [*first, *second], answer, body.model, cut_of(body), ignored=tuple(body.model_extra or ())
        )
        return await gateway.embedding.respond(request, caller, wanted)


def _check_pairs(first: int, second: int) -> None:
    if first not in (1, second):
        words = f"text_1 has {first} inputs and text_2 {second}: text_1 must have one, or as many."
        raise GatewayError("invalid_request", words, param="text_1")


def _result(at: int, value: float, body: RerankBody) -> dict[str, Any]:
    found: dict[str, Any] = {"index": at, "relevance_score": value}
    match body.documents[at]:
        case TextPart(text=text) | ContextTextPart(context_text=text) if body.return_documents:
            found["document"] = {"text": text}
    return found
