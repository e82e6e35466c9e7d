"""The status of a request, derived from its record and its events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.broker.gateway.request_record import RequestRecord
from service.broker.protocol import Done, Event, Failed, Fence, Heard, Released, Started, Token

StatusName = Literal["queued", "running", "done", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class RequestState:
    """Times in Unix seconds, None where not reached. `position` counts from 1 while the request waits its turn.
    `cancelling`: it is cancelled, and its end is still to come."""

    id: str
    model: str
    status: StatusName
    created: float
    deadline: float
    position: int | None = None
    taken_at: float | None = None
    started_at: float | None = None
    first_token_at: float | None = None
    finished_at: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_items: int = 0
    attempts: int = 0
    error: Failed | None = None
    cancelling: bool = False


def summarise(record: RequestRecord, events: Sequence[Event], position: int | None) -> RequestState:
    """State of a request. Only the first token's time is unknown while the request runs; that comes with its end."""
    fences = [event for event in events if isinstance(event, Fence)]
    started = next((event for event in events if isinstance(event, Started)), None)
    end = next((event for event in events if isinstance(event, Done | Failed)), None)
    return RequestState(
        id=record.id,
        model=record.model,
        status=_status(events, end),
        created=record.created,
        deadline=record.deadline,
        position=position if end is None else None,
        taken_at=fences[0].at if fences else None,
        started_at=started.at if started else None,
        first_token_at=end.first_token_at or None if isinstance(end, Done) else None,
        finished_at=end.at if end else None,
        prompt_tokens=started.prompt_tokens if started else 0,
        completion_tokens=sum(_tokens(event) for event in events),
        cached_items=started.cached_items if started else 0,
        attempts=len(fences),
        error=end if isinstance(end, Failed) else None,
        cancelling=record.cancelled and end is None,
    )


def _tokens(event: Event) -> int:
    return event.tokens if isinstance(event, Heard) else isinstance(event, Token)


def _status(events: Sequence[Event], end: Done | Failed | None) -> StatusName:
    if isinstance(end, Failed):
        return "failed"
    if end is not None:
        return "cancelled" if end.cancelled else "done"
    return "running" if events and not isinstance(events[-1], Released) else "queued"
