"""POST /v1/chat/completions."""

from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.inference.idempotency import IdempotencyKey
from service.gateway.inference.parsing.conversation import from_chat
from service.gateway.inference.parsing.json_body import read_json_body
from service.gateway.schema.answers import ChatCompletion
from service.gateway.schema.documented import EVENTS, documented, json_body
from service.gateway.schema.requests import ChatBody
from service.gateway.state import gateway_of

router = APIRouter()
_BODY = json_body("ChatBody")


@router.post(
    "/v1/chat/completions",
    response_model=None,
    responses=documented(ChatCompletion, EVENTS),
    openapi_extra=_BODY,
    tags=["inference"],
)
async def create_chat_completion(
    request: Request, caller: Annotated[Caller, Depends(Access(Scope.INFER))], idempotency_key: IdempotencyKey = None
) -> Response:
    """Answer a conversation that may hold images, videos, sounds, depth maps, thermal images and IMU recordings."""
    gateway = gateway_of(request)
    async with AsyncExitStack() as lease:
        await lease.enter_async_context(gateway.lease(request, caller.tenant))
        body = await read_json_body(request, ChatBody)
        wanted = await from_chat(body, gateway.sources_of(caller.tenant), gateway.limits)
        return await gateway.responder.respond(request, caller, wanted, idempotency_key, lease)
