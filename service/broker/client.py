"""The gateway's side of the queue, for asyncio: find models, submit, follow, cancel, look up."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from redis.exceptions import ResponseError

from pandagpt_core.types import Priority
from service.broker import protocol, scripts
from service.broker.blobs import MediaShelf
from service.broker.directory import Directory, LiveModel
from service.broker.errors import BrokerError, Draining, NoWorker, Overloaded, StoreUnavailable, UnknownRequest
from service.broker.feeds import Feeds, decoded
from service.broker.journal import events_of, parse_id
from service.broker.keys import DEAD_LIFE, GROUP, LANES, QUEUE_LIFE, Keys
from service.broker.protocol import Done, End, Event, Failed, Fence, Released, Request
from service.broker.records import Record, Records
from service.broker.states import RequestState, summarise
from service.broker.store import AsyncStore, check_version, connect_async, server_info, store_errors, translated
from service.settings import StoreSettings

log = logging.getLogger(__name__)
SILENCE = 5.0  # seconds without an event after which a reader asks whether one can still come
PATIENCE = 30.0  # seconds that a reader bears a store that does not answer
END_GRACE = 10.0  # seconds after its deadline that a request without an end is left to the workers
ENTRY_GRACE = 30.0  # seconds that a request may be known without standing in the queue
PLACE_TRIES, PLACE_PAUSE = 20, 0.5  # looks at a stream after a takeover, seconds between
CANCELS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event of a request and its place among them, from 1 on, whichever worker wrote it."""

    number: int
    event: Event


class Broker:
    """One gateway's connection to the store. All methods raise StoreUnavailable where the store fails."""

    def __init__(self, store: AsyncStore, settings: StoreSettings) -> None:
        self._store, self._settings = store, settings
        self._keys = Keys(settings.namespace)
        self._records = Records(store, self._keys, settings)
        self._directory = Directory(store, self._keys)
        self._feeds = Feeds(store, self._keys.wake(uuid.uuid4().hex))
        self.media = MediaShelf(store, self._keys, settings)

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

    async def events(self, request_id: str, tenant: str, after: int = 0) -> AsyncGenerator[Numbered, None]:
        """A request's events in order after the first `after` of them, until its one end.

        Takeovers do not show. Where the store loses the request, or fails for longer than a reader bears, the end is a
        `Failed` of this reader's own. Raises UnknownRequest before the first event. Close the generator when done
        with it (`contextlib.aclosing`).
        """
        record = await self._records.find(request_id, tenant)
        number, told = 0, after
        failing_since: float | None = None
        async with self._feeds.follow(self._keys.events(request_id)) as follower:
            while True:
                events = await follower.next(SILENCE)
                if events is None:
                    try:
                        events = await self._look_after(record, heard=number > 0)
                        failing_since = None
                    except StoreUnavailable as error:
                        failing_since = failing_since or time.monotonic()
                        patient = time.monotonic() - failing_since < PATIENCE
                        events = [] if patient else [_failed(error.code, error.message)]
                for event in events:
                    if isinstance(event, Fence) and number:
                        number = await self._place(record, event, number)
                    if isinstance(event, Fence | Released):
                        continue
                    number += 1
                    if number > told:
                        told = number
                        yield Numbered(number, event)
                    if isinstance(event, Done | Failed):
                        return

    async def cancel(self, request_id: str, tenant: str) -> None:
        """End a request: at once while it waits, within a step or two while it runs. Raises UnknownRequest."""
        record = await self._records.find(request_id, tenant)
        await self._records.mark_cancelled(record)
        # Only the first entry of a stream can have this id: if it is taken, a worker had the request.
        if await self._end(record, attempt=1, end=Done(cancelled=True, at=time.time())):
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

    # Ends

    async def _look_after(self, record: Record, heard: bool) -> list[Event]:
        """After silence: nothing where an end can still come, and else the end."""
        try:
            known = await self._records.find(record.id)
        except UnknownRequest:
            return [_failed("store_unavailable", "the store no longer has the request")]
        queued = await self._is_queued(known if record.entry is None else record)
        with store_errors():
            last: Any = await self._store.xrevrange(self._keys.events(record.id), count=1)
        if heard and not last:
            return [_failed("store_unavailable", "the store no longer has the request's events")]
        if any(isinstance(event, Done | Failed) for _, events in decoded(last) for event in events):
            return []  # on its way to this reader
        attempt = parse_id(last[0][0])[0] + 1 if last else 1
        if not queued:
            lost = "the store lost the request; send it again"
            await self._end(record, attempt, _failed("store_unavailable", lost))
        elif time.time() > record.deadline + END_GRACE:
            message = f"the request did not end within its {record.deadline - record.created:g} seconds"
            await self._end(record, attempt, _failed("deadline_exceeded", message))
        return []  # the end comes as any other event, whoever wrote it

    async def _is_queued(self, record: Record) -> bool:
        """Whether the request waits or runs. Its entry leaves the lane only after its end stands in its events."""
        if record.entry is None:  # its gateway died before it could note the entry, or is still about to
            return time.time() < record.created + ENTRY_GRACE
        with store_errors():
            lane = self._keys.queue(record.model, record.lane)
            return bool(await self._store.xrange(lane, record.entry, record.entry))

    async def _place(self, record: Record, fence: Fence, number: int) -> int:
        """How many events precede a fence: fewer than were heard where the store lost some and a worker made them anew.

        Making is exact, so leaving out what has the number of something told already gives the undisturbed stream.
        """
        for _ in range(PLACE_TRIES):
            try:
                with store_errors():
                    entries: Any = await self._store.xrange(self._keys.events(record.id))
            except StoreUnavailable:
                await asyncio.sleep(PLACE_PAUSE)
                continue
            events = [event for _, entry in decoded(entries) for event in entry]
            before = events[: events.index(fence)] if fence in events else None
            break
        else:
            before = None
        if before is None:
            return number
        return sum(not isinstance(event, Fence | Released) for event in before)

    async def _end(self, record: Record, attempt: int, end: End) -> bool:
        """Write an end as a fence of its own, if no other attempt got there first, and take the request off its lane.

        A worker that holds the request finds its next entry refused and drops it.
        """
        key = self._keys.events(record.id)
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.execute_command("XADD", key, f"{attempt}-0", "events", protocol.encode([end]))
            pipe.expire(key, self._records.life(record.deadline))
            written, _ = await pipe.execute(raise_on_error=False)
            if isinstance(written, ResponseError) and translated(written) is None:
                return False
            if isinstance(written, Exception):
                raise written
            if record.entry is not None:
                await self._settle(record, record.entry)
        return True

    async def _settle(self, record: Record, entry: bytes) -> None:
        keys = self._keys
        names = (keys.queue(record.model, record.lane), keys.load(record.model, record.lane), keys.dead(record.model))
        unused = ("", "", self._settings.dead_letters, DEAD_LIFE)  # no dead letter
        await self._store.eval(scripts.SETTLE, 3, *names, GROUP, entry, *unused)

    async def _position(self, record: Record) -> int:
        before = LANES[: LANES.index(record.lane)]
        names = [self._keys.queue(record.model, lane) for lane in (record.lane, *before)]
        return int(await self._store.eval(scripts.POSITION, len(names), *names, GROUP, record.entry or b""))


def _raise_if_cancelled() -> None:
    # Python 3.11's wait_for, in the driver, swallows a cancellation that comes as its own work completes.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _failed(code: str, message: str) -> Failed:
    return Failed(code=code, message=message, at=time.time())


def _refusal(outcome: str, model: str, value: int, size: int, settings: StoreSettings) -> BrokerError:
    limit, bytes_limit = settings.max_queue, settings.max_queue_bytes
    return {
        "no_worker": NoWorker(f"no worker serves {model} now"),
        "draining": Draining(f"every worker of {model} is going away; try again"),
        "full": Overloaded(f"{value} requests wait for {model}; at most {limit} may"),
        "heavy": Overloaded(f"waiting requests hold {value} bytes, this one {size}; at most {bytes_limit} together"),
    }[outcome]
