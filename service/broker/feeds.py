"""Following many event streams at once: one task and one connection, however many readers there are.

One blocking XREAD covers all streams that anyone follows. A new stream must not wait for that call to end by itself,
so the call covers a small stream of our own too, and an entry there ends it at once (`wake`).

Restriction: on a Redis Cluster the streams lie on many nodes and no command spans them. There the task asks for each
stream in turn, pipelined by node, every `POLL` seconds: more commands, and tokens come up to `POLL` later.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio

from service.broker import protocol
from service.broker.errors import StoreUnavailable
from service.broker.journal import parse_id
from service.broker.protocol import Event
from service.broker.store import AsyncStore, store_errors

log = logging.getLogger(__name__)
BLOCK = 1000  # milliseconds; also how long a wake that got lost can delay a new stream
POLL = 0.025  # seconds, on a cluster
GATHER = 0.003  # seconds between reads, so that one read brings the tokens of several requests
COUNT = 256  # entries of one stream at once
RETRY = 0.5  # seconds until the store is tried again
WAKE_LIFE = 60  # seconds
Entries = list[tuple[bytes, dict[bytes, bytes]]]


class Follower:
    """One reader of one stream, from its start."""

    def __init__(self) -> None:
        self._batches: asyncio.Queue[list[Event]] = asyncio.Queue()
        self._seen = (0, -1)

    def offer(self, entry_id: tuple[int, int], events: list[Event]) -> None:
        if entry_id > self._seen:  # a stream read again for a newcomer brings old entries to the others
            self._seen = entry_id
            self._batches.put_nowait(events)

    async def next(self, timeout: float) -> list[Event] | None:
        """The events of the next entry; None after `timeout` seconds of silence."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                return await self._batches.get()
        return None


class Feeds:
    """All streams that readers of this process follow. The reading task starts with the first of them."""

    def __init__(self, store: AsyncStore, wake_key: str) -> None:
        self._store = store
        self._wake_key, self._woken = wake_key, b"0-0"
        self._followers: defaultdict[str, list[Follower]] = defaultdict(list)
        self._positions: dict[str, bytes] = {}
        self._anyone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._read = self._poll_each if isinstance(store, redis.asyncio.RedisCluster) else self._read_all

    @asynccontextmanager
    async def follow(self, key: str) -> AsyncIterator[Follower]:
        """Follow one stream from its start."""
        follower = Follower()
        self._followers[key].append(follower)
        self._positions[key] = b"0-0"
        self._anyone.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="feeds")
        try:
            await self._wake()
            yield follower
        finally:
            self._followers[key].remove(follower)
            if not self._followers[key]:
                del self._followers[key], self._positions[key]

    async def close(self) -> None:
        """Stop reading. Followers hear nothing more."""
        self._closing = True  # Python 3.11's wait_for, in the driver, may swallow a cancellation
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while not self._closing:
            if not self._positions:
                self._anyone.clear()
                await self._anyone.wait()
            try:
                with store_errors():
                    answer = await self._read()
            except StoreUnavailable as error:
                log.warning("event streams cannot be read for now", extra={"error": error.code})
                await asyncio.sleep(RETRY)
                continue
            for key, entries in answer:
                self._deliver(key, entries)
            await asyncio.sleep(GATHER)

    async def _read_all(self) -> list[tuple[str, Entries]]:
        asked = {self._wake_key: self._woken, **self._positions}
        answer: Any = await self._store.xread(asked, count=COUNT, block=BLOCK)  # type: ignore[arg-type]  # str is a key
        found = {key.decode(): entries for key, entries in answer or []}
        wakes = found.pop(self._wake_key, None)
        if wakes:
            self._woken = wakes[-1][0]
        # A follower that came meanwhile set its stream back to the start: what was read further on must not count.
        return [(key, entries) for key, entries in found.items() if self._positions.get(key) == asked[key]]

    async def _poll_each(self) -> list[tuple[str, Entries]]:
        await asyncio.sleep(POLL)
        asked = dict(self._positions)
        pipe: Any = self._store.pipeline(transaction=False)
        for key, position in asked.items():
            pipe.xrange(key, min=b"(" + position, count=COUNT)
        answers: Any = await pipe.execute()
        found = zip(asked, answers, strict=True)
        return [(key, entries) for key, entries in found if self._positions.get(key) == asked[key]]

    def _deliver(self, key: str, entries: Entries) -> None:
        for entry_id, events in decoded(entries):
            for follower in self._followers.get(key, ()):
                follower.offer(parse_id(entry_id), events)
            self._positions[key] = entry_id

    async def _wake(self) -> None:
        with contextlib.suppress(StoreUnavailable), store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.xadd(self._wake_key, {"w": b""}, maxlen=1, approximate=False)
            pipe.expire(self._wake_key, WAKE_LIFE)
            await pipe.execute()


def decoded(entries: Entries) -> Iterator[tuple[bytes, list[Event]]]:
    """Entries and their events; what nobody of ours wrote counts as empty."""
    for entry_id, fields in entries:
        try:
            yield entry_id, protocol.entry_decoder.decode(fields.get(b"events", b""))
        except protocol.UNREADABLE:
            log.warning("an event entry cannot be read", extra={"reason": "undecodable"})
            yield entry_id, []
