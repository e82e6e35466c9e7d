"""A request's events for one reader: each once and in order, through all failures of workers and store."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from service.broker.connection import AsyncStore, store_errors
from service.broker.errors import StoreUnavailable, UnknownRequest
from service.broker.event_log import parse_id
from service.broker.gateway.request_record import RequestRecord, RequestRecords, TerminalEvents, failed
from service.broker.gateway.stream_multiplexer import StreamMultiplexer, events_in
from service.broker.keys import Keys
from service.broker.protocol import Done, Event, Failed, Fence, Released

SLICE = 256  # entries of a stream decoded in one turn of the loop
PLACE_TRIES, PLACE_PAUSE = 20, 0.5  # looks at a stream after a takeover, seconds between

StreamEntries = Sequence[tuple[bytes, dict[bytes, bytes]]]


async def in_slices(entries: StreamEntries, decode: Callable[[StreamEntries], Iterable[Event]]) -> list[Event]:
    """The events of a stream however long; the loop turns after each slice."""
    events: list[Event] = []
    for at in range(0, len(entries), SLICE):
        events += decode(entries[at : at + SLICE])
        await asyncio.sleep(0)
    return events


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """Waits of a reader, in seconds.

    silence_s: without an event, before it checks whether one can still come. patience_s: that it bears a store that
    does not answer. end_grace_s: after its deadline, that a request without an end is left to the workers.
    """

    silence_s: float = 5.0
    patience_s: float = 30.0
    end_grace_s: float = 10.0


READER_LIMITS = ReaderLimits()


class EventReader:
    """The events of one request for one reader."""

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        records: RequestRecords,
        terminal: TerminalEvents,
        record: RequestRecord,
        limits: ReaderLimits = READER_LIMITS,
    ) -> None:
        self._store, self._keys, self._records, self._terminal = store, keys, records, terminal
        self._record, self._limits = record, limits
        self._number = self._given = 0  # events of the request up to here, and those that this reader has
        self._restarts = 0
        self._failing_since: float | None = None
        self._ended = False

    async def read(self, multiplexer: StreamMultiplexer, quiet_s: float) -> AsyncGenerator[list[Event], None]:
        """Lists of new events until the request's one end; an empty list after each `quiet_s` seconds without any."""
        now = time.monotonic()
        quiet_at, check_at = now + quiet_s, now + self._limits.silence_s
        async with multiplexer.follow(self._keys.events(self._record.id)) as subscriber:
            while not self._ended:
                received = await subscriber.next(max(0.0, min(quiet_at, check_at) - now))
                if subscriber.restarts != self._restarts:
                    self._restarts, self._number = subscriber.restarts, 0
                now = time.monotonic()
                if received is None and now >= check_at:
                    received = await self._end_after_silence()
                    now = time.monotonic()
                    check_at = now + self._limits.silence_s
                new = await self._new(received) if received else []
                if received:
                    check_at = now + self._limits.silence_s
                if new or now >= quiet_at:
                    yield new
                    quiet_at = time.monotonic() + quiet_s
                now = time.monotonic()

    async def _new(self, came: Sequence[Event]) -> list[Event]:
        new: list[Event] = []
        for event in came:
            if isinstance(event, Fence | Released):
                if isinstance(event, Fence) and self._number:
                    self._number = await self._place(event, self._number)
                continue
            self._number += 1
            self._ended = isinstance(event, Done | Failed)
            if self._number > self._given or self._ended:  # an end is new whatever the store lost before it
                self._given = self._number
                new.append(event)
            if self._ended:
                break
        return new

    async def _end_after_silence(self) -> list[Event]:
        """After silence: nothing where an end can still come, and else the end."""
        try:
            found = await self._end_by_now()
        except StoreUnavailable as error:
            self._failing_since = self._failing_since or time.monotonic()
            patient = time.monotonic() - self._failing_since < self._limits.patience_s
            return [] if patient else [failed(error.code, error.message)]
        self._failing_since = None
        return found

    async def _end_by_now(self) -> list[Event]:
        record = self._record
        try:
            await self._records.find(record.id)
        except UnknownRequest:
            return [failed("store_unavailable", "the store no longer has the request")]
        queued = await self._is_queued(record)
        with store_errors():
            last: Any = await self._store.xrevrange(self._keys.events(record.id), count=1)
        if any(isinstance(event, Done | Failed) for event in events_in(last)):
            return []  # on its way to this reader
        attempt = parse_id(last[0][0])[0] + 1 if last else 1
        if not queued:
            lost = "the store lost the request; send it again"
            await self._terminal.write(record, attempt, failed("store_unavailable", lost))
        elif time.time() > record.deadline + self._limits.end_grace_s:
            message = f"the request did not end within its {record.deadline - record.created:g} seconds"
            await self._terminal.write(record, attempt, failed("deadline_exceeded", message))
        return []  # the end comes as any other event

    async def _is_queued(self, record: RequestRecord) -> bool:
        """Whether the request waits or runs. Its entry leaves the queue only after its end stands in its events."""
        with store_errors():
            queue = self._keys.queue(record.model, record.priority)
            return bool(await self._store.xrange(queue, record.entry, record.entry))

    async def _place(self, fence: Fence, number: int) -> int:
        """Number of events before a fence: fewer than were read where the store lost some and a worker repeats them.

        Repeating is exact, so the stream stays whole where events are dropped whose numbers were read before.
        """
        for _ in range(PLACE_TRIES):
            try:
                with store_errors():
                    entries: Any = await self._store.xrange(self._keys.events(self._record.id))
            except StoreUnavailable:
                await asyncio.sleep(PLACE_PAUSE)
                continue
            events = await in_slices(entries, events_in)
            if fence not in events:
                return number
            return sum(not isinstance(event, Fence | Released) for event in events[: events.index(fence)])
        return number
