"""The record of a request: its tenant and queue, the metadata of its answer, its readers; and its last event.

admit.lua writes the record together with the queue entry. `TerminalEvents` writes the end of a request that no worker
will end.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from redis.exceptions import ResponseError

from pandagpt_core.types import Priority
from service.broker import protocol, scripts
from service.broker.connection import AsyncStore, store_errors, translated
from service.broker.errors import DuplicateRequest, UnknownRequest
from service.broker.keys import DEAD_LIFE, GROUP, Keys, settle_keys
from service.broker.protocol import End, Failed, Request
from service.settings import StoreSettings

StreamEntry = tuple[bytes, dict[bytes, bytes]]
FIELDS = ("tenant", "model", "priority", "created", "deadline", "entry", "response", "grace", "readers", "attached")
TOMBSTONE_LIFE = 60  # seconds; longer than a command to the store may take


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as admitted. `entry` is its place in the queue; `response` what the gateway gave to `submit`; `reader`
    the name of the client that came to read it, "" for the one that sent it."""

    id: str
    tenant: str
    model: str
    priority: Priority
    created: float
    deadline: float
    entry: bytes
    response: bytes = b""
    grace_s: float = 0.0
    cancelled: bool = False
    reader: str = ""

    def at(self, entry: bytes) -> "RequestRecord":
        """The same at another place of the queue."""
        return replace(self, entry=entry)


class RequestRecords:
    """The records of one store. All methods raise StoreUnavailable."""

    def __init__(self, store: AsyncStore, keys: Keys, settings: StoreSettings) -> None:
        self._store, self._keys = store, keys
        self._retention = settings.request_ttl_s

    def life(self, deadline: float) -> int:
        """Expiry in seconds of every key of a request."""
        return round(max(deadline - time.time(), 0.0) + self._retention)

    async def find(self, request_id: str, tenant: str | None = None) -> RequestRecord:
        """Raises UnknownRequest, also for a request of another tenant than the one given."""
        with store_errors():
            found: Any = await self._store.hgetall(self._keys.record(request_id))
        fields = {key.decode(): value for key, value in found.items()}
        if "tenant" not in fields or tenant not in (None, fields["tenant"].decode()):
            raise UnknownRequest("no request of this id")
        return RequestRecord(
            id=request_id,
            tenant=fields["tenant"].decode(),
            model=fields["model"].decode(),
            priority="batch" if fields["priority"] == b"batch" else "interactive",
            created=float(fields["created"]),
            deadline=float(fields["deadline"]),
            entry=fields["entry"],
            response=fields.get("response", b""),
            grace_s=float(fields.get("grace", b"0")),
            cancelled="cancelled" in fields,
        )

    async def last_event(self, request_id: str) -> StreamEntry | None:
        """The last entry of its events."""
        with store_errors():
            entries: Any = await self._store.xrevrange(self._keys.events(request_id), count=1)
        return entries[0] if entries else None

    async def forget_events(self, request_id: str, last: StreamEntry | None) -> None:
        """All up to that entry. Raises DuplicateRequest where it is not the last any more: another run writes."""
        if last is None:
            return
        entry, key = (last[0], *(item for pair in last[1].items() for item in pair)), self._keys.events(request_id)
        with store_errors():
            gone: Any = await self._store.eval(scripts.FORGET, 1, key, *entry)
        if not gone:
            raise DuplicateRequest("the request runs again already", param="id")

    def mark(self, pipe: Any, request_id: str, life: int) -> None:
        """Add to a pipeline the mark that workers look at when they take a request; `life` in seconds.

        On an id without a record, the mark refuses admission.
        """
        pipe.hset(self._keys.record(request_id), "cancelled", "1")
        pipe.expire(self._keys.record(request_id), life)

    async def forget(self, record: RequestRecord) -> None:
        """Leave the mark alone, for as long as a worker may take the request."""
        key, life = self._keys.record(record.id), round(max(record.deadline - time.time(), 0.0)) + TOMBSTONE_LIFE
        with store_errors():
            await self._store.eval(scripts.EXPIRING, 1, key, life, "HSET", "cancelled", "1")
            await self._store.eval(scripts.EXPIRING, 1, key, life, "HDEL", *FIELDS)


def record_fields(request: Request, response: bytes, grace_s: float) -> dict[str, str | bytes | int]:
    """The fields of a new record but for `entry`; its first reader is the client that sent the request."""
    return {
        "tenant": request.tenant,
        "model": request.model,
        "priority": request.priority,
        "created": repr(request.created),
        "deadline": repr(request.deadline),
        "response": response,
        "grace": repr(grace_s),
        "readers": 1,
        "attached": 1,
    }


class TerminalEvents:
    """Raises StoreUnavailable where the store fails."""

    def __init__(self, store: AsyncStore, keys: Keys, records: RequestRecords, settings: StoreSettings) -> None:
        self._store, self._keys, self._records = store, keys, records
        self._dead_letters = settings.dead_letters

    async def write(self, record: RequestRecord, attempt: int, end: End) -> bool:
        """Write `end` as a fence of its own and unqueue the request. Returns False where another attempt wrote first.

        A worker that holds the request finds its next entry refused and drops it.
        """
        return bool(await self.write_each([record], attempt, end))

    async def write_each(self, records: Sequence[RequestRecord], attempt: int, end: End) -> list[RequestRecord]:
        """The same for several, in two round trips; those whose end it is."""
        if not records:
            return []
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            for record in records:
                key = self._keys.events(record.id)
                pipe.execute_command("XADD", key, f"{attempt}-0", "events", protocol.encode([end]))
                pipe.expire(key, self._records.life(record.deadline))
            answers = await pipe.execute(raise_on_error=False)
            written = [record for record, answer in zip(records, answers[::2], strict=True) if _is_written(answer)]
            await self._settle(written)
        return written

    async def _settle(self, records: Sequence[RequestRecord]) -> None:
        keys, no_dead_letter = self._keys, ("", "", self._dead_letters, DEAD_LIFE)
        pipe: Any = self._store.pipeline(transaction=False)
        for record in records:
            names = settle_keys(keys, record.model, record.priority)
            pipe.execute_command("EVAL", scripts.SETTLE, len(names), *names, GROUP, record.entry, *no_dead_letter)
        if records:
            await pipe.execute()


def _is_written(answer: Any) -> bool:
    """Raises what is a failure of the store, and not its refusal of an id that is too small."""
    if isinstance(answer, ResponseError) and translated(answer) is None:
        return False
    if isinstance(answer, Exception):
        raise answer
    return True


def failed(code: str, message: str) -> Failed:
    return Failed(code=code, message=message, at=time.time())
