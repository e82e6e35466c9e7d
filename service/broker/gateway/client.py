"""The gateway's side of the queue, for asyncio: find models, submit, follow, cancel, look up."""

import asyncio
import contextlib
import logging
import math
import secrets
import time
import uuid
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Any, Self

import numpy as np

from pandagpt_core.types import ModelInfo, Priority
from service.broker import protocol, scripts
from service.broker.connection import (
    AsyncStore,
    check_mode,
    check_version,
    connect_async,
    server_info,
    store_errors,
)
from service.broker.errors import StoreUnavailable
from service.broker.event_log import events_of
from service.broker.gateway.admission import Admission, Capacity
from service.broker.gateway.departures import Departures
from service.broker.gateway.event_reader import READER_LIMITS, EventReader, ReaderLimits, in_slices
from service.broker.gateway.model_registry import ModelRegistry
from service.broker.gateway.readers import Readers
from service.broker.gateway.request_record import (
    RequestRecord,
    RequestRecords,
    TerminalEvents,
    failed,
    record_fields,
)
from service.broker.gateway.request_status import RequestState, summarise
from service.broker.gateway.stream_multiplexer import StreamMultiplexer
from service.broker.keys import CANCELS_KEPT, PRIORITIES, QUEUE_LIFE, Keys
from service.broker.media_cache import MediaCache
from service.broker.permissions import GATEWAY, check_permitted_async, permitted
from service.broker.protocol import Done, Event, Failed, Request, Token
from service.settings import StoreSettings

log = logging.getLogger(__name__)
SALT_BYTES = 32
PROBE_LIFE = 60  # seconds


class Broker:
    """One gateway's connection to the store. All methods raise StoreUnavailable where the store fails.

    from_zero: models whose requests may wait for their first worker.
    """

    def __init__(
        self,
        store: AsyncStore,
        settings: StoreSettings,
        from_zero: Collection[str] = (),
        reader_limits: ReaderLimits = READER_LIMITS,
    ) -> None:
        self._store, self._cluster, self._reader_limits = store, settings.cluster, reader_limits
        self._keys = Keys(settings.namespace)
        self._records = RequestRecords(store, self._keys, settings)
        self._terminal = TerminalEvents(store, self._keys, self._records, settings)
        self.registry = ModelRegistry(store, self._keys)
        self._multiplexer = StreamMultiplexer(store, self._keys.wake(uuid.uuid4().hex))
        self._media = MediaCache(self._keys, settings)
        self._admission = Admission(store, self._keys, settings, self._media, from_zero)
        self._departures = self._departing(settings)

    @classmethod
    def connect(cls, settings: StoreSettings) -> Self:
        """Connects at the first command, not before."""
        return cls(connect_async(settings), settings)

    async def close(self) -> None:
        await self._departures.close()
        await self._multiplexer.close()
        await self._store.aclose()

    async def check(self) -> None:
        """Check that the store answers, is new enough, of the settings' kind, and lets its user do the work. Raises
        StoreTooOld, StoreRefused, StoreUnavailable."""
        with store_errors(), permitted("INFO"):
            info = server_info(await self._store.info("server"))
        warning = check_version(info)
        if warning:
            log.warning("the store should be upgraded", extra={"reason": warning})
        check_mode(info, self._cluster)
        await check_permitted_async(self._store, GATEWAY, self._keys.probe)

    async def check_writes(self) -> None:
        """Check that the store takes a write now. Raises StoreUnavailable and its kinds."""
        with store_errors():
            await self._store.set(self._keys.probe, b"1", ex=PROBE_LIFE)

    async def last_known(self, model: str) -> ModelInfo | None:
        """As its last worker announced it, whether or not any is left; listed from now on, so that metrics show its
        queue. None where the store does not remember one."""
        return await self.registry.last_known(model)

    async def give_up_waiting(self, record: RequestRecord) -> bool:
        """End a request that no worker has taken and for whose model there is none. False where one is or was."""
        live = (await self.registry.models()).get(record.model)
        if live is not None and live.ready:
            return False
        end = failed("no_worker", f"no worker of {record.model} came in time; try again")
        return await self._terminal.write(record, attempt=1, end=end)

    async def capacity(self, model: str, priority: Priority = "interactive") -> Capacity:
        """The room of the queue. Raises the errors of `submit`."""
        return await self._admission.check(model, priority)

    async def look_up(
        self, model: str, priority: Priority, media: Sequence[str], life_s: float = 0.0
    ) -> tuple[Capacity, set[str]]:
        """In one round trip, before media are decoded: the queue's room, and the media that the store does not have.
        Its own media live on for `life_s` at least.

        Raises the errors of `submit`.
        """
        return await self._admission.look_up(model, priority, list(dict.fromkeys(media)), life_s)

    async def notes(self, media: Sequence[str]) -> dict[str, bytes]:
        """Packed notes of readers on media that the store has, by the media's names."""
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            for name in media:
                pipe.get(self._keys.media_notes(name))
            found = await pipe.execute()
        return {name: packed for name, packed in zip(media, found, strict=True) if packed is not None}

    async def keep_notes(self, notes: Mapping[str, bytes]) -> None:
        """Keep what readers remarked of media. Raises StoreUnavailable."""
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            self._media.put_notes(pipe, notes)
            await pipe.execute()

    async def keep_embeddings(self, embeddings: Mapping[str, np.ndarray]) -> None:
        """Keep embeddings that a caller gave, by their names, as if a worker had made them. Raises StoreUnavailable."""
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            self._media.put_embeddings(pipe, embeddings)
            await pipe.execute()

    async def submit(
        self,
        request: Request,
        arrays: Mapping[str, np.ndarray] | None = None,
        *,
        response: bytes = b"",
        grace_s: float = 0.0,
        capacity: Capacity | None = None,
        weight: float = 1.0,
    ) -> RequestRecord:
        """Store the arrays (by `MediaRef.blob`), then record and queue the request in one atomic step.

        `response` and `grace_s` are kept in the record for other gateways. `capacity` is the last look at the queue:
        arrays that are larger than its room are not stored before a new one. `weight` is how many requests of its share
        are served for one of a share of weight 1. Raises Overloaded, NoWorker, Draining, DuplicateRequest,
        StoreUnavailable. After any of these the request is not run, or is cancelled as soon as a worker takes it.
        """
        payload, arrays = protocol.encode(request), arrays or {}
        size = len(payload) + sum(array.nbytes for array in arrays.values())
        if arrays and (capacity is None or size > capacity.free_bytes):
            await self._admission.check(request.model, request.priority, size, request.share or request.tenant, weight)
        life, fields = self._records.life(request.deadline), record_fields(request, response, grace_s)
        admission = asyncio.ensure_future(self._admission.admit(request, payload, arrays, life, fields, weight=weight))
        try:
            entry = await asyncio.shield(admission)
        except (StoreUnavailable, asyncio.CancelledError):
            admission.add_done_callback(_look_away)
            self._departures.submit(request)  # it may stand in the queue
            raise
        return RequestRecord(
            id=request.id,
            tenant=request.tenant,
            model=request.model,
            priority=request.priority,
            created=request.created,
            deadline=request.deadline,
            entry=entry,
            response=response,
            grace_s=grace_s,
        )

    async def salt(self, known: bytes | None = None) -> bytes:
        """The store's own salt, which separates tenants; where there is none, the one that is known, or a new one."""
        with store_errors():
            await self._store.set(self._keys.salt, known or secrets.token_bytes(SALT_BYTES), nx=True)
            salt: Any = await self._store.get(self._keys.salt)
        return bytes(salt)

    async def find(self, request_id: str, tenant: str) -> RequestRecord:
        """Raises UnknownRequest."""
        return await self._records.find(request_id, tenant)

    async def events(
        self, request_id: str, tenant: str, quiet_s: float = math.inf
    ) -> AsyncGenerator[list[Event], None]:
        """As `follow`, by id. Raises UnknownRequest before the first event."""
        record = await self._records.find(request_id, tenant)
        async with contextlib.aclosing(self.follow(record, quiet_s)) as lists:
            async for events in lists:
                yield events

    async def follow(self, record: RequestRecord, quiet_s: float = math.inf) -> AsyncGenerator[list[Event], None]:
        """A request's events in order, in lists as they came, until its one end; an empty list after each `quiet_s`
        seconds without any.

        Takeovers do not show. Where the store loses the request, or fails for longer than a reader bears, the end is a
        `Failed` of this reader's own. Close the generator when done with it (`contextlib.aclosing`).
        """
        reader = EventReader(self._store, self._keys, self._records, self._terminal, record, self._reader_limits)
        async with contextlib.aclosing(reader.read(self._multiplexer, quiet_s)) as lists:
            async for new in lists:
                yield new

    def leave(self, record: RequestRecord) -> "asyncio.Future[Readers | None]":
        """A client that read the request left: its request is cancelled at once, unless others read or it has a grace.

        Nothing need wait for it; the answer is the counts of readers after that, None for a request that is gone.
        """
        return self._departures.reader(record)

    async def departed(self) -> None:
        """Return once no notice of a client that left, or of a submit that was given up, waits for the store."""
        await self._departures.sent()

    async def was_refused(self, request_id: str) -> bool:
        """Whether a submit of that id was given up, so that no request of that id can come any more."""
        with store_errors():
            return bool(await self._store.hexists(self._keys.record(request_id), "cancelled"))

    async def cancel(self, request_id: str, tenant: str) -> None:
        """End a request: at once while it waits, within a step or two while it runs. Raises UnknownRequest."""
        await self.cancel_record(await self._records.find(request_id, tenant))

    async def cancel_record(self, record: RequestRecord) -> None:
        """As `cancel`. The worker's notice goes first and in one round trip: until it is there the worker computes on.

        A request that no worker has ends here; a notice of it is one that no worker heeds.
        """
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            self._records.mark(pipe, record.id, self._records.life(record.deadline))
            pipe.xadd(self._keys.cancels(record.model), {"id": record.id}, maxlen=CANCELS_KEPT)
            pipe.expire(self._keys.cancels(record.model), QUEUE_LIFE)
            await pipe.execute()
        # Only the first entry of a stream can have this id: if it is taken, a worker had the request.
        await self._terminal.write(record, attempt=1, end=Done(cancelled=True, at=time.time()))

    async def state(self, request_id: str, tenant: str) -> RequestState:
        """Raises UnknownRequest."""
        record = await self._records.find(request_id, tenant)
        with store_errors():
            entries: Any = await self._store.xrange(self._keys.events(request_id))
            position = await self._position(record)
        events = await in_slices(entries, events_of)
        return summarise(record, events, position + 1 if position >= 0 else None)

    async def keep_shortly(self, record: RequestRecord, seconds: int) -> None:
        """Keep the request's events and record for so long and no longer; its answer is large and was given."""
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.expire(self._keys.events(record.id), seconds)
            pipe.expire(self._keys.record(record.id), seconds)
            await pipe.execute()

    async def delete(self, record: RequestRecord) -> None:
        """Delete a request that ended: its events, picture and conversation in one step, then its record.

        A harm between both leaves the record alone, which holds nothing of what was asked or answered. A mark stays in
        its place: a worker that takes over from one that died does not run the request again.
        """
        keys = self._keys
        names = (keys.events(record.id), keys.response(record.id), keys.picture(record.id))
        with store_errors():
            await self._store.eval(scripts.DELETE, len(names), *names)
        await self._records.forget(record)

    async def history(self, record: RequestRecord) -> list[Event]:
        """The request's events so far."""
        with store_errors():
            entries: Any = await self._store.xrange(self._keys.events(record.id))
        return await in_slices(entries, events_of)

    async def answer_text(self, record: RequestRecord, choice: int) -> str | None:
        """A choice's text once the request has ended; None before."""
        events = await self.history(record)
        if not any(isinstance(event, Done | Failed) for event in events):
            return None
        return "".join(event.text for event in events if isinstance(event, Token) and event.choice == choice)

    def _departing(self, settings: StoreSettings) -> Departures:
        own = connect_async(settings.model_copy(update={"pool": 1}), name="gateway-departures")
        terminal = TerminalEvents(own, self._keys, self._records, settings)
        return Departures(own, self._keys, self._records, terminal)

    async def _position(self, record: RequestRecord) -> int:
        before = PRIORITIES[: PRIORITIES.index(record.priority)]
        keys, lanes = self._keys, [(record.model, priority) for priority in (record.priority, *before)]
        names = [keys.waiting(*lane) for lane in lanes]
        return int(await self._store.eval(scripts.POSITION, len(names), *names, record.entry))


def _look_away(admission: "asyncio.Future[bytes]") -> None:
    """Nobody waits for its outcome any more."""
    if not admission.cancelled():
        admission.exception()
