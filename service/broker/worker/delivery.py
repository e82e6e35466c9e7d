"""A request that a worker has taken: a delivery to run, or a reason to end it at once."""

import time
from dataclasses import dataclass

import msgspec

from pandagpt_core.types import Priority
from service.broker import protocol
from service.broker.event_log import EventHistory, EventWriter
from service.broker.protocol import Done, End, Failed, Request


class Undecodable(Exception):
    """A queue entry that is no request of ours. `request_id` is what it calls itself, if that much can be read."""

    def __init__(self, reason: str, request_id: str | None) -> None:
        super().__init__(reason)
        self.request_id = request_id


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A request in a worker's hands. `entry` is its id in the queue's stream, `history` what was published before."""

    request: Request
    priority: Priority
    entry: bytes
    writer: EventWriter
    history: EventHistory


def read_entry(fields: dict[bytes, bytes], model: str) -> Request:
    """The request of a queue entry. Raises Undecodable."""
    raw = fields.get(b"request", b"")
    try:
        request: Request = protocol.request_decoder.decode(raw)
    except protocol.UNREADABLE as error:
        raise Undecodable(f"undecodable: {type(error).__name__}", _name_of(raw)) from None
    if request.model != model:
        raise Undecodable("another model's request", request.id)
    return request


def end_at_arrival(request: Request, history: EventHistory, cancelled: bool, max_losses: int) -> End | None:
    """The end of a request that is not to be run, else None."""
    if history.torn:
        return Failed(
            code="internal_error", message="the worker could not read what was answered before", at=time.time()
        )
    if history.losses >= max_losses:
        lost = f"given up after {history.losses} workers were lost while they ran this request"
        return Failed(code="worker_lost", message=lost, at=time.time())
    if cancelled:
        return Done(cancelled=True, at=time.time())
    return expired(request)


def expired(request: Request) -> Failed | None:
    """The end of a request whose deadline has passed, else None."""
    now = time.time()
    if now < request.deadline:
        return None
    limit = request.deadline - request.created
    message = f"the request did not end within its {limit:g} seconds"
    return Failed(code="deadline_exceeded", message=message, at=now)


class _Named(msgspec.Struct):
    id: str


def _name_of(raw: bytes) -> str | None:
    # A request of a newer version still has an id, and its caller waits for an end.
    try:
        return msgspec.msgpack.decode(raw, type=_Named).id
    except protocol.UNREADABLE:
        return None
