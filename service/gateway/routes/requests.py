"""/v1/requests/{id}: how a request stands, its events again, its end. Another caller's request is a 404."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from pandagpt_core.boxes import read_boxes
from service.broker.gateway.request_status import RequestState
from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.errors import GatewayError, error_object
from service.gateway.schema.documented import EVENTS, documented
from service.gateway.schema.resources import RequestStatus
from service.gateway.state import gateway_of
from service.gateway.streaming.chunks import failure, read_metadata

PNG = "image/png"
_PRIVATE = {"cache-control": "private, no-store", "x-content-type-options": "nosniff"}
router = APIRouter(tags=["requests"])
_Owner = Annotated[Caller, Depends(Access(Scope.REQUESTS))]
_RequestId = Annotated[str, Path(description="The `id` of an answer, or the header `x-request-id`")]
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_EVENT_ID = re.compile(r"[0-9]{1,9}")
_Choice = Annotated[int, Query(ge=0, le=63, description="Index of one of `n` answers, from 0 (choices)")]
_LastEventId = Annotated[
    str | None,
    Header(
        json_schema_extra={"pattern": f"^{_EVENT_ID.pattern}$"},
        description="The id of the last event that was read; those after it follow. Default: all.",
    ),
]


@router.get("/v1/requests/{request_id}", response_model=None, responses=documented(RequestStatus))
async def get_request(request: Request, request_id: _RequestId, caller: _Owner) -> dict[str, Any]:
    """State, position in the queue, usage and timings."""
    return _status(await gateway_of(request).broker.state(_known(request_id), caller.tenant))


@router.delete("/v1/requests/{request_id}", response_model=None, responses=documented(RequestStatus))
async def cancel_request(request: Request, request_id: _RequestId, caller: _Owner) -> dict[str, Any]:
    """Cancel; one that has ended stays as it is."""
    broker = gateway_of(request).broker
    state = await broker.state(_known(request_id), caller.tenant)
    if state.status in ("queued", "running"):
        await broker.cancel(request_id, caller.tenant)
        state = await broker.state(request_id, caller.tenant)
    return _status(state)


@router.get(
    "/v1/requests/{request_id}/events",
    response_model=None,
    response_class=Response,
    responses=documented(None, EVENTS),
)
async def get_request_events(
    request: Request, request_id: _RequestId, caller: _Owner, last_event_id: _LastEventId = None
) -> Response:
    """The request's stream from its start, or after `Last-Event-ID`, on any gateway."""
    gateway = gateway_of(request)
    if last_event_id is not None and not _EVENT_ID.fullmatch(last_event_id):
        raise GatewayError("invalid_request", "Last-Event-ID must be the id of an event.", param="Last-Event-ID")
    record = await gateway.requests.find(_known(request_id), caller.tenant)
    after = -1 if last_event_id is None else int(last_event_id)
    return await gateway.responder.follow(request, caller, record, read_metadata(record.response), after)


@router.get(
    "/v1/requests/{request_id}/annotated",
    response_model=None,
    response_class=Response,
    responses=documented(None, PNG),
)
async def get_annotated_picture(
    request: Request, request_id: _RequestId, caller: _Owner, choice: _Choice = 0
) -> Response:
    """The request's picture with its answer's boxes, as PNG. For requests with `annotate`, once they have ended."""
    gateway = gateway_of(request)
    record = await gateway.broker.find(_known(request_id), caller.tenant)
    metadata = read_metadata(record.response)
    text = await gateway.broker.answer_text(record, choice)
    if text is None:
        raise GatewayError("request_not_ended", "The request has not ended yet.")
    if not metadata.annotated or choice >= metadata.n:
        raise GatewayError("request_not_found", "No picture is kept of this choice: send annotate with the request.")
    png = await gateway.requests.pictures.draw(record.id, read_boxes(text).objects)
    return Response(png, media_type=PNG, headers=_PRIVATE)


def _known(request_id: str) -> str:
    if not _ID.fullmatch(request_id):
        raise GatewayError("request_not_found", "There is no such request.")
    return request_id


def _status(state: RequestState) -> dict[str, Any]:
    return {
        "id": state.id,
        "object": "request",
        "model": state.model,
        "status": state.status,
        "position": state.position,
        "attempts": state.attempts,
        "usage": {
            "prompt_tokens": state.prompt_tokens,
            "completion_tokens": state.completion_tokens,
            "total_tokens": state.prompt_tokens + state.completion_tokens,
            "cached_items": state.cached_items,
        },
        "timings": {
            "created": state.created,
            "deadline": state.deadline,
            "taken": state.taken_at,
            "started": state.started_at,
            "first_token": state.first_token_at,
            "finished": state.finished_at,
        },
        "error": error_object(failure(state.error))["error"] if state.error else None,
    }
