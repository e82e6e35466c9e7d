"""/v1/responses: answers that are kept, streamed again after any event, gone on with, cancelled and deleted."""

from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from msgspec import structs

from pandagpt_core.types import Turn
from service.broker.gateway.request_record import RequestRecord
from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.errors import GatewayError
from service.gateway.inference.idempotency import IdempotencyKey
from service.gateway.inference.parsing.json_body import read_json_body
from service.gateway.inference.responses.body import from_response
from service.gateway.inference.responses.conversations import KeptConversation
from service.gateway.json_answer import json_answer
from service.gateway.schema.documented import EVENTS, documented, json_body
from service.gateway.schema.responses.bodies import DeletedResponse, ResponseBody, ResponseId, ResponseObject
from service.gateway.state import GatewayState, gateway_of
from service.gateway.streaming.chunks import read_metadata
from service.gateway.streaming.response_events import ResponseState, request_id
from service.gateway.streaming.response_items import answer_turn

router = APIRouter(tags=["responses"])
_User = Annotated[Caller, Depends(Access(Scope.INFER))]
_Owner = Annotated[Caller, Depends(Access(Scope.REQUESTS))]
_BODY = json_body("ResponseBody")
_After = Annotated[
    int | None,
    Query(
        ge=0,
        le=10**9,
        description="The sequence number of the last event that was read (events). Default: the stream's start.",
    ),
]
_Known = Annotated[ResponseId, Path(description="A response's id")]
_Stream = Annotated[bool, Query(description="Its events, instead of the response")]


@router.post("/v1/responses", response_model=None, responses=documented(ResponseObject, EVENTS), openapi_extra=_BODY)
async def create_response(request: Request, caller: _User, idempotency_key: IdempotencyKey = None) -> Response:
    """Answer a text or messages, as a response that is kept; with `background`, at once and without an answer yet."""
    gateway = gateway_of(request)
    async with AsyncExitStack() as lease:
        await lease.enter_async_context(gateway.lease(request, caller.tenant))
        body = await read_json_body(request, ResponseBody)
        earlier = await _earlier(gateway, body.previous_response_id, caller.tenant)
        wanted = await from_response(body, earlier, gateway.sources_of(caller.tenant), gateway.limits)
        return await gateway.responder.respond(request, caller, wanted, idempotency_key, lease)


@router.get("/v1/responses/{response_id}", response_model=None, responses=documented(ResponseObject, EVENTS))
async def get_response(
    request: Request, response_id: _Known, caller: _Owner, stream: _Stream = False, starting_after: _After = None
) -> Response:
    """The response as it stands; with `stream`, its events from the start or after `starting_after`, on any gateway."""
    gateway = gateway_of(request)
    record, kept = await gateway.responses.find(request_id(response_id), caller.tenant)
    if not stream:
        return await json_answer(await _object(gateway, record, kept))
    metadata = structs.replace(read_metadata(record.response), shape=kept.shape)
    after = -1 if starting_after is None else starting_after
    return await gateway.responder.follow(request, caller, record, metadata, after)


@router.post("/v1/responses/{response_id}/cancel", response_model=None, responses=documented(ResponseObject))
async def cancel_response(request: Request, response_id: _Known, caller: _Owner) -> dict[str, Any]:
    """End it; one that has ended stays as it is."""
    gateway = gateway_of(request)
    record, kept = await gateway.responses.find(request_id(response_id), caller.tenant)
    await gateway.responses.end(record)
    return await _object(gateway, record, kept)


@router.delete("/v1/responses/{response_id}", response_model=None, responses=documented(DeletedResponse))
async def delete_response(request: Request, response_id: _Known, caller: _Owner) -> dict[str, Any]:
    """Forget it and its conversation; one that runs is cancelled."""
    gateway = gateway_of(request)
    await gateway.responses.delete(request_id(response_id), caller.tenant)
    return {"id": response_id, "object": "response", "deleted": True}


async def _earlier(gateway: GatewayState, name: str | None, tenant: str) -> tuple[KeptConversation, Turn] | None:
    """The conversation to go on with, and its answer. Raises `request_not_found`, `request_not_ended`."""
    if name is None:
        return None
    try:
        record, kept = await gateway.responses.find(request_id(name), tenant)
    except GatewayError as error:
        raise GatewayError(error.code, error.message, param="previous_response_id") from None
    text = await gateway.broker.answer_text(record, 0)
    if text is None:
        raise GatewayError("request_not_ended", "That response has not ended yet.", param="previous_response_id")
    return kept, answer_turn(read_metadata(record.response), text)


async def _object(gateway: GatewayState, record: RequestRecord, kept: KeptConversation) -> dict[str, Any]:
    state = ResponseState(structs.replace(read_metadata(record.response), shape=kept.shape))
    for event in await gateway.broker.history(record):
        state.take(event)
    return state.object()
