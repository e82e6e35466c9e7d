"""For operators: requests that wait, run or were given up; and a second chance or an end for them."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from pandagpt_core.types import Priority
from service.broker import protocol, scripts
from service.broker.connection import AsyncStore, connect_async, store_errors
from service.broker.errors import BrokerError, UnknownRequest
from service.broker.gateway.admission import Admission
from service.broker.gateway.client import Broker
from service.broker.gateway.request_record import RequestRecords, record_fields
from service.broker.keys import GROUP, PRIORITIES, Keys, settle_keys
from service.broker.media_cache import MediaCache
from service.broker.protocol import Generate, MediaRef, Request, Transcribe
from service.settings import StoreSettings

PENDING = 10_000  # most running requests that are looked at
QueueEntry = tuple[bytes, dict[bytes, bytes]]


class NotRetryable(BrokerError):
    """A dead letter that cannot be queued again."""

    code = "invalid_request"


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A request of the queue or a dead letter.

    `entry` is its stream id, `id` what it calls itself (None where it cannot be read), `worker` who has it, `attempts`
    how often it was handed out, `since` Unix seconds from which it waits, runs or is dead, `reason` why it died.
    """

    state: Literal["waiting", "running", "dead"]
    model: str
    priority: Priority | None
    entry: str
    id: str | None
    kind: str
    bytes: int
    since: float
    worker: str | None = None
    attempts: int = 0
    reason: str | None = None
    request: Request | None = None


class QueueAdmin:
    """One store, looked into. All methods raise StoreUnavailable."""

    def __init__(self, store: AsyncStore, settings: StoreSettings) -> None:
        self._store, self._settings = store, settings
        self._keys = Keys(settings.namespace)
        self._broker = Broker(store, settings)
        self._records = RequestRecords(store, self._keys, settings)
        self._media = MediaCache(self._keys, settings)
        self._admission = Admission(store, self._keys, settings, self._media)

    @classmethod
    def connect(cls, settings: StoreSettings) -> "QueueAdmin":
        return cls(connect_async(settings, name="queue"), settings)

    async def close(self) -> None:
        await self._broker.close()

    async def models(self) -> list[str]:
        """Models that had a worker within the queue's life."""
        with store_errors():
            names: Any = await self._store.zrange(self._keys.models, 0, -1)
        return sorted(name.decode() for name in names)

    async def items(self, models: Sequence[str]) -> list[QueueItem]:
        """Running and waiting requests in the order in which they are served, then dead letters, oldest first."""
        found: list[QueueItem] = []
        for model in models:
            for priority in PRIORITIES:
                found += await self._queued(model, priority)
            found += await self._dead(model)
        return found

    async def find(self, name: str, models: Sequence[str]) -> list[QueueItem]:
        """Items of that request id or stream id."""
        return [item for item in await self.items(models) if name in (item.id, item.entry)]

    async def retry(self, item: QueueItem) -> None:
        """Queue a dead letter anew, under its own id and with the time it first had; its old events are forgotten.

        Its caller has its failure; the id answers with the new run from here on. At every moment it is the letter or
        runs, also where the store's answer does not arrive. It takes its turn with weight 1. Raises NotRetryable, also
        where the store has lost a medium of it; DuplicateRequest; and Admission's errors.
        """
        request = item.request
        if item.state != "dead" or request is None:
            raise NotRetryable(f"{item.entry} is no dead letter that this version can read")
        now = time.time()
        again = msgspec.structs.replace(request, created=now, deadline=now + request.deadline - request.created)
        payload, response, grace_s = protocol.encode(again), b"", 0.0
        await self._admission.check(again.model, again.priority, len(payload), again.share or again.tenant)
        await self._check_media(again)
        with suppress(UnknownRequest):
            record = await self._records.find(again.id, again.tenant)
            response, grace_s = record.response, record.grace_s
        last = await self._records.last_event(again.id)
        await self._admission.check_letter(again.model, item.entry)  # so the last event is of the run that ended
        await self._records.forget_events(again.id, last)
        life, fields = self._records.life(again.deadline), record_fields(again, response, grace_s)
        await self._admission.admit(again, payload, {}, life, fields, item.entry)

    async def drop(self, item: QueueItem) -> None:
        """Forget a dead letter; end a request that waits or runs as cancelled."""
        if item.state == "dead":
            with store_errors():
                await self._store.xdel(self._keys.dead(item.model), item.entry)
        elif item.request is not None:
            try:
                await self._broker.cancel(item.request.id, item.request.tenant)
            except UnknownRequest:
                await self._settle(item)
        else:
            await self._settle(item)

    async def _check_media(self, request: Request) -> None:
        """Raises NotRetryable where the store lacks a part that a worker reads; the others live for the new run."""
        names = _media_names(request)
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            self._media.look_up(pipe, names, request.deadline - request.created)
            missing = self._media.missing(names, await pipe.execute())
        if missing:
            gone = f"{len(missing)} of its {len(set(names))} media left the store, which keeps them for a while only"
            raise NotRetryable(f"{gone}: its caller has to send it again")

    async def _settle(self, item: QueueItem) -> None:
        assert item.priority is not None
        model, priority = item.model, item.priority
        names = settle_keys(self._keys, model, priority)
        with store_errors():
            await self._store.eval(scripts.SETTLE, len(names), *names, GROUP, item.entry, "", "", 0, 0)

    async def _queued(self, model: str, priority: Priority) -> list[QueueItem]:
        key = self._keys.queue(model, priority)
        with store_errors():
            entries: Any = await self._store.xrange(key)
            groups: Any = await self._store.xinfo_groups(key) if entries else []
            taken: Any = await self._store.xpending_range(key, GROUP, "-", "+", PENDING) if groups else []
        holders = {one["message_id"]: one for one in taken}
        items = [_queued_item(model, priority, entry, holders.get(entry[0])) for entry in entries]
        return sorted(items, key=lambda item: item.state)  # running before waiting; the sort keeps the order otherwise

    async def _dead(self, model: str) -> list[QueueItem]:
        with store_errors():
            letters: Any = await self._store.xrange(self._keys.dead(model))
        return [_dead_item(model, letter) for letter in letters]


def _media_names(request: Request) -> list[str]:
    """Of all that a worker reads: media, and the sounds whose speech it writes down."""
    sounds: list[MediaRef] = []
    if isinstance(request, Transcribe):
        sounds = [request.sound]
    elif isinstance(request, Generate):
        sounds = request.speech
    return [part.blob for part in (*request.media, *sounds)]


def _queued_item(model: str, priority: Priority, entry: QueueEntry, holder: Any) -> QueueItem:
    request, size = _read(entry)
    return QueueItem(
        state="running" if holder else "waiting",
        model=model,
        priority=priority,
        entry=entry[0].decode(),
        id=request.id if request else None,
        kind=_kind(request),
        bytes=size,
        since=int(entry[0].partition(b"-")[0]) / 1000,
        worker=holder["consumer"].decode() if holder else None,
        attempts=holder["times_delivered"] if holder else 0,
        request=request,
    )


def _dead_item(model: str, letter: QueueEntry) -> QueueItem:
    request, size = _read(letter)
    return QueueItem(
        state="dead",
        model=model,
        priority=request.priority if request else None,
        entry=letter[0].decode(),
        id=request.id if request else None,
        kind=_kind(request),
        bytes=size,
        since=float(letter[1].get(b"at", b"0")),
        reason=letter[1].get(b"reason", b"").decode("utf-8", "replace"),
        request=request,
    )


def _read(entry: QueueEntry) -> tuple[Request | None, int]:
    raw = entry[1].get(b"request", b"")
    try:
        return protocol.request_decoder.decode(raw), int(entry[1].get(b"cost", len(raw)))
    except (*protocol.UNREADABLE, ValueError):
        return None, len(raw)


def _kind(request: Request | None) -> str:
    if request is None:
        return "unreadable"
    return type(request).__name__.lower()
