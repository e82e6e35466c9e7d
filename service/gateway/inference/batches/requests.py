"""One request of a batch: its body by the endpoint that it names, run in the class `batch`, its whole answer."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from service.broker.gateway.request_record import RequestRecord
from service.gateway.access.auth import Caller
from service.gateway.errors import GatewayError
from service.gateway.inference.embedding.answering import cut_of, embedding_list
from service.gateway.inference.embedding.embedder import EmbedOptions, embed
from service.gateway.inference.embedding.inputs import check_inputs, read_inputs
from service.gateway.inference.parsing.completion_body import from_completion
from service.gateway.inference.parsing.conversation import from_chat
from service.gateway.inference.parsing.json_body import BODY, JsonBounds, parsed, pieces
from service.gateway.inference.responses.body import from_response
from service.gateway.inference.service import RequestService
from service.gateway.inference.validated import GenerateRequest, RequestLimits
from service.gateway.media.sources import MediaSources
from service.gateway.schema.completions import CompletionBody
from service.gateway.schema.embeddings import EmbedBody
from service.gateway.schema.requests import ChatBody
from service.gateway.schema.responses.bodies import ResponseBody
from service.gateway.streaming.folds import whole_fold


@dataclass(frozen=True, slots=True)
class BatchCall:
    """Context of a batch's request. `key` names it to the end of its life: sent again, it is not run again. `started`
    is called with its record once it is queued."""

    service: RequestService
    caller: Caller
    sources: MediaSources
    limits: RequestLimits
    key: str
    started: Callable[[RequestRecord], None]


async def answer_line(call: BatchCall, url: str, body: bytes) -> dict[str, Any]:
    """The whole answer. Raises the errors of the endpoint, those of its JSON body among them."""
    model, answer = ENDPOINTS[url]
    data = await JsonBounds().read(pieces(body), BODY, "body")
    return await answer(call, parsed(data, model))


async def _chat(call: BatchCall, body: Any) -> dict[str, Any]:
    return await _whole(call, await from_chat(body, call.sources, call.limits))


async def _completion(call: BatchCall, body: Any) -> dict[str, Any]:
    return await _whole(call, await from_completion(body, call.limits))


async def _response(call: BatchCall, body: Any) -> dict[str, Any]:
    if body.previous_response_id is not None or body.background:
        name = "background" if body.background else "previous_response_id"
        raise GatewayError("invalid_request", f"{name} is not supported in a batch.", param=name)
    return await _whole(call, await from_response(body, None, call.sources, call.limits))


async def _embeddings(call: BatchCall, body: Any) -> dict[str, Any]:
    check_inputs(body.input, call.limits, "input")
    inputs = await read_inputs(body.input, "input", call.sources)
    info = await call.service.model(body.model)
    how = EmbedOptions(cut_of(body), body.dimensions, "batch")
    found = await embed(call.service, inputs, how, info, call.caller, call.key, call.started)
    return embedding_list(found, info.id, as_base64=body.encoding_format == "base64")


async def _whole(call: BatchCall, wanted: GenerateRequest) -> dict[str, Any]:
    info = await call.service.model(wanted.model)
    wanted = replace(wanted, priority="batch", stream=False)
    submitted = await call.service.submit(wanted, info, call.caller, call.key)
    assert submitted.metadata is not None, "a request for text has metadata"
    call.started(submitted.record)
    fold = whole_fold(submitted.metadata)
    async with aclosing(call.service.broker.follow(submitted.record)) as lists:
        async for events in lists:
            for event in events:
                if (whole := fold.feed(event)) is not None:
                    assert not isinstance(whole, str), "only transcripts are plain text"
                    return whole
    raise GatewayError("internal_error", "The request ended without an answer.")


_Answer = Callable[[BatchCall, Any], Awaitable[dict[str, Any]]]
ENDPOINTS: Mapping[str, tuple[type[BaseModel], _Answer]] = MappingProxyType(
    {
        "/v1/chat/completions": (ChatBody, _chat),
        "/v1/completions": (CompletionBody, _completion),
        "/v1/embeddings": (EmbedBody, _embeddings),
        "/v1/responses": (ResponseBody, _response),
    }
)
