"""POST /v1/completions."""

from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.inference.idempotency import IdempotencyKey
from service.gateway.inference.parsing.completion_body import from_completion
from service.gateway.inference.parsing.json_body import read_json_body
from service.gateway.schema.completions import Completion, CompletionBody
from service.gateway.schema.documented import EVENTS, documented, json_body
from service.gateway.state import gateway_of

router = APIRouter()
_BODY = json_body("CompletionBody")


@router.post(
    "/v1/completions",
    response_model=None,
    responses=documented(Completion, EVENTS),
    openapi_extra=_BODY,
    tags=["inference"],
)
async def create_completion(
    request: Request, caller: Annotated[Caller, Depends(Access(Scope.INFER))], idempotency_key: IdempotencyKey = None
) -> Response:
    """Continue a text, or token ids, as they stand: no template is written around them."""
    gateway = gateway_of(request)
    async with AsyncExitStack() as lease:
        await lease.enter_async_context(gateway.lease(request, caller.tenant))
        body = await read_json_body(request, CompletionBody)
        wanted = await from_completion(body, gateway.limits)
        return await gateway.responder.respond(request, caller, wanted, idempotency_key, lease)
