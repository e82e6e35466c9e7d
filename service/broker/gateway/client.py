"""The gateway's side of the queue, for asyncio: find models, submit, follow, cancel, look up."""

import asyncio
import contextlib
import logging
import math
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Self

import numpy as np

from pandagpt_core.types import Priority
from service.broker import protocol, scripts
from service.broker.connection import AsyncStore, check_version, connect_async, server_info, store_errors
from service.broker.errors import BrokerError, Draining, NoWorker, Overloaded, StoreUnavailable
from service.broker.event_log import events_of
from service.broker.gateway.event_reader import EventReader
from service.broker.gateway.model_registry import LiveModel, ModelRegistry
from service.broker.gateway.request_record import RequestRecord, RequestRecords
from service.broker.gateway.request_status import RequestState, summarise
from service.broker.gateway.stream_multiplexer import StreamMultiplexer
from service.broker.gateway.terminal_event import TerminalEvents
from service.broker.keys import GROUP, PRIORITIES, QUEUE_LIFE, Keys
from service.broker.media_cache import MediaCache
from service.broker.protocol import Done, Event, Request
from service.settings import StoreSettings

log = logging.getLogger(__name__)
CANCELS_KEPT = 10_000


class Broker:
    """One gateway's connection to the store. All methods raise StoreUnavailable where the store fails."""

    def __init__(self, store: AsyncStore, settings: StoreSettings) -> None:
        self._store, self._settings = store, settings
        self._keys = Keys(settings.namespace)
        self._records = RequestRecords(store, self._keys, settings)
        self._ends = TerminalEvents(store, self._keys, self._records, settings)
        self._directory = ModelRegistry(store, self._keys)
        self._feeds = StreamMultiplexer(store, self._keys.wake(uuid.uuid4().hex))
        self.media = MediaCache(store, self._keys, settings)

    @classmethod
    def connect(cls, settings: StoreSettings) -> Self:
        """Connects at the first command, not before."""
        return cls(connect_async(settings), settings)

    async def close(self) -> None:
        await self._feeds.close()
        await self._store.aclose()

    async def check(self) -> None:
        """Whether the store answers and is new enough (StoreTooOld, StoreRefused, StoreUnavailable)."""
        with store_errors():
            warning = check_version(server_info(await self._store.info("server")))
        if warning:
            log.warning("the store should be upgraded", extra={"reason": warning})

    async def models(self) -> Mapping[str, LiveModel]:
        """Live models by id, at most a second old."""
        return await self._directory.models()

    async def admissible(self, model: str, priority: Priority = "interactive", size: int = 0) -> int:
        """How many requests wait, or the error `submit` would raise. Ask before the work of decoding media."""
        return int(await self._admit(model, priority, b"", size))

    async def submit(self, request: Request, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Queue a request: its arrays (by `MediaPart.blob`) first, then one atomic admission.

        Raises Overloaded, NoWorker, Draining, DuplicateRequest, StoreUnavailable. After any of these the request is
        not run, or is cancelled as soon as a worker takes it.
        """
        payload, arrays = protocol.encode(request), arrays or {}
        size = len(payload) + sum(array.nbytes for array in arrays.values())
        await self.admissible(request.model, request.priority, size)
        await self._records.create(request)
        try:
            await self.media.put(arrays, request.deadline - time.time())
            entry = await self._admit(request.model, request.priority, payload, size)
            await self._records.placed(request.id, bytes(entry))
            _raise_if_cancelled()
        except (StoreUnavailable, asyncio.CancelledError):
            await asyncio.shield(self._abandon(request))  # it may stand in the queue
            raise
        except BrokerError:
            await self._records.forget(request.id)
            raise

    async def events(
        self, request_id: str, tenant: str, quiet_s: float = math.inf
    ) -> AsyncGenerator[list[Event], None]:
        """A request's events in order, in lists as they came, until its one end; an empty list after each `quiet_s`
        seconds without any.

        Takeovers do not show. Where the store loses the request, or fails for longer than a reader bears, the end is a
        `Failed` of this reader's own. Raises UnknownRequest before the first event. Close the generator when done
        with it (`contextlib.aclosing`).
        """
        record = await self._records.find(request_id, tenant)
        reading = EventReader(self._store, self._keys, self._records, self._ends, record)
        async with self._feeds.follow(self._keys.events(request_id)) as follower:
            quiet_at = time.monotonic() + quiet_s
            while not reading.ended:
                new = await reading.next(follower, quiet_at - time.monotonic())
                if new or time.monotonic() >= quiet_at:
                    yield new
                    quiet_at = time.monotonic() + quiet_s

    async def cancel(self, request_id: str, tenant: str) -> None:
        """End a request: at once while it waits, within a step or two while it runs. Raises UnknownRequest."""
        record = await self._records.find(request_id, tenant)
        await self._records.mark_cancelled(record)
        # Only the first entry of a stream can have this id: if it is taken, a worker had the request.
        if await self._ends.write(record, attempt=1, end=Done(cancelled=True, at=time.time())):
            return
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.xadd(self._keys.cancels(record.model), {"id": request_id}, maxlen=CANCELS_KEPT)
            pipe.expire(self._keys.cancels(record.model), QUEUE_LIFE)
            await pipe.execute()

    async def state(self, request_id: str, tenant: str) -> RequestState:
        """Raises UnknownRequest."""
        record = await self._records.find(request_id, tenant)
        with store_errors():
            entries: Any = await self._store.xrange(self._keys.events(request_id))
            position = await self._position(record) if record.entry else -1
        return summarise(record, events_of(entries), position + 1 if position >= 0 else None)

    # Admission

    async def _admit(self, model: str, lane: Priority, payload: bytes, size: int) -> Any:
        """Run admit.lua: the entry's id, or the number that wait where there is no payload."""
        keys = self._keys
        names = (keys.queue(model, lane), keys.load(model, lane), keys.ready(model), keys.draining(model))
        limits = (self._settings.max_queue, self._settings.max_queue_bytes, QUEUE_LIFE)
        with store_errors():
            answer: Any = await self._store.eval(scripts.ADMIT, 4, *names, GROUP, payload, size, *limits)
        outcome, value = answer[0].decode(), answer[1]
        if outcome in ("queued", "free"):
            return value
        raise _refusal(outcome, model, value, size, self._settings)

    async def _abandon(self, request: Request) -> None:
        """A submit that ended unclearly: whoever takes it shall see that nobody waits for it. Best effort."""
        with contextlib.suppress(BrokerError):
            await self.cancel(request.id, request.tenant)

    async def _position(self, record: RequestRecord) -> int:
        before = PRIORITIES[: PRIORITIES.index(record.lane)]
        names = [self._keys.queue(record.model, lane) for lane in (record.lane, *before)]
        return int(await self._store.eval(scripts.POSITION, len(names), *names, GROUP, record.entry or b""))


def _raise_if_cancelled() -> None:
    # Python 3.11's wait_for, in the driver, swallows a cancellation that comes as its own work completes.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _refusal(outcome: str, model: str, value: int, size: int, settings: StoreSettings) -> BrokerError:
    limit, bytes_limit = settings.max_queue, settings.max_queue_bytes
    return {
        "no_worker": NoWorker(f"no worker serves {model} now"),
        "draining": Draining(f"every worker of {model} is going away; try again"),
        "full": Overloaded(f"{value} requests wait for {model}; at most {limit} may"),
        "heavy": Overloaded(f"waiting requests hold {value} bytes, this one {size}; at most {bytes_limit} together"),
    }[outcome]
