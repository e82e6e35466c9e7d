"""The answer to a request for vectors: the one path behind /v1/embeddings, /v1/rerank and /v1/score."""

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from pandagpt_core.types import ModelInfo, Priority
from service.gateway.access.auth import Caller
from service.gateway.access.rate_limit import UsageMeter
from service.gateway.errors import FieldError, GatewayError
from service.gateway.inference.embedding.embedder import Embedded, EmbedOptions, check_dimensions, embed
from service.gateway.inference.embedding.inputs import EmbedInput
from service.gateway.inference.idempotency import REPLAYED
from service.gateway.inference.respond import ignored, warned
from service.gateway.inference.service import RequestService
from service.gateway.json_answer import json_answer
from service.gateway.media.text_windows import Cut
from service.gateway.middleware import CLIENT_CLOSED_REQUEST
from service.gateway.schema.embeddings import LongText
from service.gateway.streaming.event_stream import ClientDisconnected, check_stays, until_disconnect, watch_connection

Answer = Callable[[Embedded, str], dict[str, Any]]  # from vectors and the model's name


@dataclass(frozen=True, slots=True)
class EmbedQuestion:
    """Inputs and how to embed them; `answer` makes the body of the answer. `ignored`: parameters that nobody read."""

    inputs: Sequence[EmbedInput]
    answer: Answer
    model: str | None = None
    cut: Cut = "none"
    dimensions: int | None = None
    priority: Priority = "interactive"
    ignored: Sequence[str] = ()
    key: str | None = None


@dataclass(frozen=True, slots=True)
class EmbedResponder:
    """`leaving` is set when this gateway has no more time for running answers."""

    requests: RequestService
    usage: UsageMeter
    leaving: asyncio.Event

    async def respond(self, request: Request, caller: Caller, wanted: EmbedQuestion) -> Response:
        """Embed, and answer. Raises `draining`, `invalid_request` and a request's failures."""
        check_stays(self.leaving)
        info, how = await self._model(wanted)
        seen = caller.seen
        seen.model, seen.priority = info.id, how.priority
        seen.phases.append(("receive", seen.received, time.perf_counter()))
        work = embed(self.requests, wanted.inputs, how, info, caller, wanted.key)
        try:
            async with watch_connection(request.receive) as gone:
                found = await until_disconnect(gone, work, self.leaving)
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        seen.charged, seen.prompt_tokens = not found.submitted.replayed, found.tokens
        if seen.charged:
            await self.usage.charge(caller.tenant, seen.key_class, found.tokens)
        else:
            await self.usage.limiter.refund(caller.tenant)
        replayed = REPLAYED if found.submitted.replayed else {}
        headers = {**ignored(wanted.ignored), **warned(found.submitted.warnings), **replayed}
        return await json_answer(wanted.answer(found, info.id), headers)

    async def _model(self, wanted: EmbedQuestion) -> tuple[ModelInfo, EmbedOptions]:
        info = await self.requests.model(wanted.model)
        check_dimensions(wanted.dimensions, info)
        return info, EmbedOptions(wanted.cut, wanted.dimensions, wanted.priority)


def cut_of(body: LongText) -> Cut:
    """Raises `invalid_request` for two ways at once."""
    try:
        return body.cut
    except FieldError as error:
        raise GatewayError("invalid_request", f"{error.field} {error}.", param=error.field) from None


def embedding_list(found: Embedded, model: str, as_base64: bool) -> dict[str, Any]:
    """OpenAI's object; each vector as numbers, or as base64 of little-endian float32."""
    rows = [
        {"object": "embedding", "index": at, "embedding": _written(vector, as_base64)}
        for at, vector in enumerate(found.vectors)
    ]
    return {"object": "list", "data": rows, "model": model, "usage": embedding_usage(found)}


def _written(vector: np.ndarray, as_base64: bool) -> list[float] | str:
    if as_base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers


def embedding_usage(found: Embedded) -> dict[str, Any]:
    """OpenAI's object, and the media beside it."""
    details = {f"{modality}_items": count for modality, count in sorted(found.items.items())}
    return {"prompt_tokens": found.tokens, "total_tokens": found.tokens, "prompt_tokens_details": details}
