"""Following many event streams at once: one task and one connection for all readers.

One blocking XREAD covers all streams that anyone follows. A new stream must not wait for that call to end by itself, so
the call covers a small stream of our own too, and an entry there ends it at once (`wake`). The cost of a read grows
with the streams it covers, so the pause between two reads grows with them as well: a read then brings the tokens of
many streams, and each stream's events are handed over in one piece.

Restriction: on a Redis Cluster the streams lie on many nodes and no command spans them. There the task reads each
stream in turn, pipelined by node, every `POLL` seconds: more commands, and tokens come up to `POLL` later.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import RedisError

from service.broker import protocol
from service.broker.async_connections import drivers_own
from service.broker.connection import AsyncStore, store_errors, translated
from service.broker.errors import StoreUnavailable
from service.broker.gateway.timeouts import LazyTimeout
from service.broker.protocol import Event, Fence, Released

log = logging.getLogger(__name__)
BLOCK_MS = 1000  # of a read; also how long a wake that got lost can delay a new stream
POLL = 0.025  # seconds, on a cluster
GATHER = 0.002  # seconds between reads, so that one read brings the tokens of several requests
GATHER_EACH = 4e-6  # seconds more for each stream followed: a twentieth of the time then goes into reading
COUNT = 64  # entries of one stream at once
TURN = 256  # entries handed over in one turn of the loop, and those of one stream more
RETRY_S = 0.5  # until the store is tried again
WAKE_LIFE = 60  # seconds


RawEntries = list[tuple[bytes, list[bytes]]]  # id; field, value, field, value …


class StreamSubscriber:
    """One reader of one stream, from its start: the events that came since it last looked."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received: list[Event] = []
        self._last_id = (0, -1)
        self.restarts = 0  # events count from the stream's start after each
        self._waiter: asyncio.Future[None] | None = None
        self._timeout: LazyTimeout | None = None

    def offer(self, entry_id: tuple[int, int], events: Sequence[Event]) -> None:
        if entry_id > self._last_id:  # a stream read again for a new reader brings old entries to the others
            self._last_id = entry_id
            self._received += events
            if not all(isinstance(event, Fence | Released) for event in events):
                self._wake()  # attempts that change hands are read with the next event

    def restart(self) -> None:
        """The stream is read again from its start: the store was away, and may lack what it had."""
        self._received.clear()
        self._last_id = (0, -1)
        self.restarts += 1

    async def next(self, timeout: float) -> list[Event] | None:
        """All events that came; None after `timeout` seconds of silence."""
        if not self._received:
            self._waiter, limit = self._loop.create_future(), self._timeout
            if limit is None:
                limit = self._timeout = LazyTimeout(self._wake, timeout)
            limit.due = self._loop.time() + timeout
            if limit.due < limit.fires_at:
                limit.arm()
            try:
                await self._waiter
            finally:
                self._waiter, limit.due = None, math.inf
        found, self._received = self._received, []
        return found or None

    def close(self) -> None:
        if self._timeout is not None:
            self._timeout.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def bulk(text: bytes) -> bytes:
    """A string of the store's protocol."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


class StreamCursor:
    """Position in a stream up to which it has been read; the start at first."""

    __slots__ = ("after", "key", "name", "packed")

    def __init__(self, key: str) -> None:
        self.key = key.encode()
        self.name = bulk(self.key)
        self.rewind()

    def rewind(self) -> None:
        self.move(b"0-0")

    def move(self, entry_id: bytes) -> None:
        self.after, self.packed = entry_id, bulk(entry_id)


class StreamConnection:
    """Reads from a store that is one server. Not to be used by two tasks at once. Its connection is made as the pool
    makes them, and counts beside them.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: Any = None  # some of its methods bear no types

    async def read(self, places: Collection[StreamCursor], count: int, block_ms: int) -> list[tuple[bytes, RawEntries]]:
        """By stream at most `count` entries after each place, as soon as there are any. Raises the driver's errors."""
        if self._connection is None:
            self._connection = drivers_own(self._pool)
        head = b"*%d\r\n$5\r\nXREAD\r\n" % (6 + 2 * len(places))
        options = [b"COUNT", b"%d" % count, b"BLOCK", b"%d" % block_ms, b"STREAMS"]
        names, afters = [place.name for place in places], [place.packed for place in places]
        parts = [head, *map(bulk, options), *names, *afters]
        whole = False
        try:
            await self._connection.connect()  # sending to where there is none yet would not ask the sentinels
            await self._connection.send_packed_command(b"".join(parts), check_health=False)
            answer: Any = await self._connection.read_response(disable_decoding=True)
            whole = True
        finally:
            if not whole:  # an answer may still come, and must not be taken for the next one
                await asyncio.shield(self.close())
        return answer or []

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.disconnect(nowait=True)


class _Stream(StreamCursor):
    """A stream and who follows it."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.subscribers: list[StreamSubscriber] = []
        self.from_read = 0  # results of earlier reads do not count: they did not begin at the start

    def restart(self) -> None:
        self.rewind()
        for subscriber in self.subscribers:
            subscriber.restart()

    def deliver(self, entries: RawEntries) -> None:
        for entry_id, fields in entries:
            attempt, _, number = entry_id.partition(b"-")
            events = decoded(fields)
            for subscriber in self.subscribers:
                subscriber.offer((int(attempt), int(number)), events)
        self.move(entries[-1][0])


class StreamMultiplexer:
    """All streams that readers of this process follow. The reading task starts with the first of them."""

    def __init__(self, store: AsyncStore, wake_key: str, block_ms: int = BLOCK_MS, retry_s: float = RETRY_S) -> None:
        self._store, self._block_ms, self._retry_s = store, block_ms, retry_s
        self._wakes = StreamCursor(wake_key)
        self._reads = 0
        self._reading = False  # a read is under way,
        self._woken = False  # and will be ended for the readers that came since it began
        self._streams: dict[bytes, _Stream] = {}
        self._anyone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waking: asyncio.Task[None] | None = None
        self._closing = False
        self._connection = (
            None if isinstance(store, redis.asyncio.RedisCluster) else StreamConnection(store.connection_pool)
        )

    @asynccontextmanager
    async def follow(self, key: str) -> AsyncIterator[StreamSubscriber]:
        """Follow one stream from its start."""
        stream = self._streams.setdefault(key.encode(), _Stream(key))
        stream.rewind()
        stream.from_read = self._reads + 1
        subscriber = StreamSubscriber()
        stream.subscribers.append(subscriber)
        self._anyone.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="stream-multiplexer")
        try:
            if self._reading and not self._woken:
                self._woken = True
                self._waking = asyncio.create_task(self._wake(), name="wake")  # the next readers trust in it
                await asyncio.shield(self._waking)
            yield subscriber
        finally:
            subscriber.close()
            stream.subscribers.remove(subscriber)
            if not stream.subscribers:
                self._streams.pop(stream.key, None)

    async def close(self) -> None:
        """Stop reading. Subscribers get no more events."""
        self._closing = True  # Python 3.11's wait_for, in the driver, may swallow a cancellation
        for task in (self._task, self._waking):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._task = self._waking = None
        if self._connection is not None:
            await self._connection.close()

    async def _run(self) -> None:
        while not self._closing:
            if not self._streams:
                self._anyone.clear()
                await self._anyone.wait()
            self._reads, self._reading, self._woken = self._reads + 1, True, False
            try:
                await (self._poll_each() if self._connection is None else self._read_all(self._connection))
            except (RedisError, OSError) as error:
                ours = translated(error)
                if ours is None:
                    raise
                log.warning("event streams cannot be read for now", extra={"error": ours.code})
                for stream in self._streams.values():
                    stream.restart()
                await asyncio.sleep(self._retry_s)
                continue
            finally:
                self._reading = False
            await asyncio.sleep(GATHER + GATHER_EACH * len(self._streams))

    async def _read_all(self, connection: StreamConnection) -> None:
        places = [self._wakes, *self._streams.values()]
        found = await connection.read(places, COUNT, self._block_ms)
        if found and found[0][0] == self._wakes.key:
            self._wakes.move(found[0][1][-1][0])
            del found[0]
        await self._deliver_all(found)

    async def _poll_each(self) -> None:
        await asyncio.sleep(POLL)
        asked = list(self._streams)
        pipe: Any = self._store.pipeline(transaction=False)
        for stream in self._streams.values():
            pipe.xrange(stream.key, min=b"(" + stream.after, count=COUNT)
        answers: Any = await pipe.execute()
        found: list[tuple[bytes, RawEntries]] = [
            (key, [(entry_id, [b"events", fields.get(b"events", b"")]) for entry_id, fields in answer])
            for key, answer in zip(asked, answers, strict=True)
        ]
        await self._deliver_all(found)

    async def _deliver_all(self, found: Sequence[tuple[bytes, RawEntries]]) -> None:
        """Hand over what a read brought; the loop turns between, however much it is."""
        handed_over = 0
        for key, entries in found:
            if not entries:
                continue
            self._deliver(key, entries)
            handed_over += len(entries)
            if handed_over >= TURN:
                handed_over = 0
                await asyncio.sleep(0)

    def _deliver(self, key: bytes, entries: RawEntries) -> None:
        stream = self._streams.get(key)
        if stream is not None and stream.from_read <= self._reads:
            stream.deliver(entries)

    async def _wake(self) -> None:
        with contextlib.suppress(StoreUnavailable), store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.xadd(self._wakes.key, {"w": b""}, maxlen=1, approximate=False)
            pipe.expire(self._wakes.key, WAKE_LIFE)
            await pipe.execute()


def events_in(entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Event]:
    """Events of entries as the driver gives them."""
    return [event for _, fields in entries for event in decoded([b"events", fields.get(b"events", b"")])]


def decoded(fields: Sequence[bytes]) -> list[Event]:
    """The events of an entry; none where the entry is not of this service."""
    try:
        if fields[0] == b"events":
            events: list[Event] = protocol.entry_decoder.decode(fields[1])
            return events
    except protocol.UNREADABLE:
        pass
    log.warning("an event entry cannot be read", extra={"reason": "undecodable"})
    return []
