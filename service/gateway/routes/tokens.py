"""POST /tokenize and /detokenize, in vLLM's shapes. The worker that holds the tokenizer answers."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from pandagpt_core.types import ModelInfo
from service.broker.protocol import Tokenized
from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.errors import FieldError, GatewayError
from service.gateway.inference.parsing.conversation import check_totals, conversation
from service.gateway.inference.parsing.json_body import read_json_body
from service.gateway.inference.respond import ignored
from service.gateway.inference.tokenizing import TokenizeRequest, tokenized
from service.gateway.inference.validated import RequestLimits
from service.gateway.json_answer import json_answer
from service.gateway.media.sources import MediaSources
from service.gateway.middleware import CLIENT_CLOSED_REQUEST
from service.gateway.schema.completions import DetokenizeBody, Detokenized, TokenizeBody, Tokens
from service.gateway.schema.documented import documented, json_body
from service.gateway.state import GatewayState, gateway_of
from service.gateway.streaming.event_stream import ClientDisconnected, until_disconnect, watch_connection

router = APIRouter(tags=["inference"])
_User = Annotated[Caller, Depends(Access(Scope.INFER))]
_TOKENIZE = json_body("TokenizeBody")
_DETOKENIZE = json_body("DetokenizeBody")


@router.post("/tokenize", response_model=None, responses=documented(Tokens), openapi_extra=_TOKENIZE)
async def tokenize(request: Request, caller: _User) -> Response:
    """The token ids that the language model reads of a prompt, or of messages in its template."""
    gateway = gateway_of(request)
    body = await read_json_body(request, TokenizeBody)
    wanted = await _wanted(body, gateway.sources_of(caller.tenant), gateway.limits)

    def answer(found: Tokenized, info: ModelInfo) -> dict[str, Any]:
        texts = [piece.decode(errors="replace") for piece in found.pieces] if body.return_token_strs else None
        size = {"count": len(found.ids), "max_model_len": info.max_model_len}
        return {**size, "tokens": found.ids, "token_strs": texts}

    return await _answered(request, caller, body.model, wanted, answer, ignored(body.model_extra or ()))


@router.post("/detokenize", response_model=None, responses=documented(Detokenized), openapi_extra=_DETOKENIZE)
async def detokenize(request: Request, caller: _User) -> Response:
    """The text of token ids."""
    body = await read_json_body(request, DetokenizeBody)
    wanted = TokenizeRequest(ids=tuple(body.tokens))

    def answer(found: Tokenized, _: ModelInfo) -> dict[str, Any]:
        return {"prompt": found.text}

    return await _answered(request, caller, body.model, wanted, answer, ignored(body.model_extra or ()))


async def _wanted(body: TokenizeBody, sources: MediaSources, limits: RequestLimits) -> TokenizeRequest:
    try:
        body.check_one()
    except FieldError as error:
        raise GatewayError("invalid_request", f"{error.field} {error}.", param=error.field) from None
    if body.messages is None:
        text = body.prompt or ""
        check_totals(len(text), 0, limits, "prompt")
        return TokenizeRequest(text=text, special=body.add_special_tokens)
    turns, media = await conversation(body.messages, sources, limits)
    if media:
        words = "/tokenize takes messages of text; a medium's rows have no token ids."
        raise GatewayError("invalid_request", words, param=media[0].where)
    return TokenizeRequest(turns=tuple(turns))


async def _answered(
    request: Request,
    caller: Caller,
    model: str | None,
    wanted: TokenizeRequest,
    answer: Callable[[Tokenized, ModelInfo], dict[str, Any]],
    headers: dict[str, str],
) -> Response:
    gateway: GatewayState = gateway_of(request)
    async with gateway.lease(request, caller.tenant):
        gateway.check_accepting()
        info = await gateway.requests.model(model)
        caller.seen.model = info.id
        work = tokenized(gateway.requests, wanted, info, caller)
        try:
            async with watch_connection(request.receive) as gone:
                found = await until_disconnect(gone, work, gateway.leaving)
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
    return await json_answer(answer(found, info), headers)
