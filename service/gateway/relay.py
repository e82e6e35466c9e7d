"""Between the broker's events and one client: keep-alives, slow readers, clients that go away, and our own going.

Whatever happens, the events are closed, and `gone` is called where the client left before the end.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.broker.client import Numbered
from service.broker.errors import Draining
from service.broker.protocol import Event
from service.gateway.errors import from_core
from service.gateway.sse import KEEP_ALIVE, FrameFold, parting_words

_T = TypeVar("_T")
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class Reader:
    """A request's events one at a time, with a bound on each wait that loses nothing.

    `leaving` is set when this gateway has no more time for running answers.
    """

    def __init__(self, events: AsyncGenerator[Numbered, None], leaving: asyncio.Event | None = None) -> None:
        self._events, self._leaving = events, leaving or asyncio.Event()
        self._coming: asyncio.Task[Event] | None = None
        self._parting: asyncio.Task[bool] | None = None

    async def next(self, timeout_s: float | None = None) -> Event | None:
        """The next event, or None after `timeout_s` of silence. Raises what the broker raises, and Draining."""
        self._coming = coming = self._coming or asyncio.create_task(self._next())
        self._parting = parting = self._parting or asyncio.create_task(self._leaving.wait())
        done, _ = await asyncio.wait({coming, parting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if coming in done:
            self._coming = None
            return coming.result()
        if parting in done:
            raise Draining("this gateway is going away before the answer's end; try again")
        return None

    async def close(self) -> None:
        await _stop(*(task for task in (self._coming, self._parting) if task is not None))
        await self._events.aclose()

    async def _next(self) -> Event:
        return (await anext(self._events)).event


async def unless_gone(receive: Receive, work: Coroutine[None, None, _T]) -> _T:
    """The work's result; ClientGone, with the work cancelled, where the client leaves first."""
    task, watcher = asyncio.create_task(work), asyncio.create_task(_until_gone(receive))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        await _stop(task, watcher)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stop(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of silence until a comment line; seconds a client may take nothing; bytes it may fall behind."""

    keep_alive_s: float = 10.0
    send_timeout_s: float = 30.0
    send_buffer_bytes: int = 1 << 20


class TooSlow(Exception):
    """The client takes less than its request makes, for longer than it may."""


class Outbox:
    """What one client has not taken yet. The server holds some 64 KB more before it makes us wait."""

    def __init__(self, send: Send, pace: Pace) -> None:
        self._send, self._pace = send, pace
        self._waiting: list[bytes] = []
        self._size = 0
        self._closed = False
        self._more = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Raises TooSlow where the client is too far behind."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size > self._pace.send_buffer_bytes:
            raise TooSlow
        if data:
            self._more.set()

    def close(self) -> None:
        self._closed = True
        self._more.set()

    async def deliver(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Head, body, end. Raises TimeoutError where the client takes nothing for too long."""
        await self._give({"type": "http.response.start", "status": 200, "headers": headers})
        last = False
        while not last:
            await self._more.wait()
            self._more.clear()
            body, last = b"".join(self._waiting), self._closed
            self._waiting.clear()
            await self._give({"type": "http.response.body", "body": body, "more_body": not last})
            self._size -= len(body)

    async def _give(self, message: dict[str, object]) -> None:
        async with asyncio.timeout(self._pace.send_timeout_s):  # the server holds us while its buffer is full
            await self._send(message)


class EventStream(Response):
    """The answer that streams. `first` are events already read; `lease` is closed at the end, come what may."""

    media_type = "text/event-stream"

    def __init__(
        self,
        reader: Reader,
        first: Sequence[Event],
        fold: FrameFold,
        pace: Pace,
        gone: Callable[[], Awaitable[None]],
        lease: AsyncExitStack,
        headers: Mapping[str, str],
    ) -> None:
        self.status_code, self.background = 200, None
        self.init_headers({**headers, **STREAM_HEADERS})
        self._reader, self._first, self._fold, self._pace = reader, first, fold, pace
        self._gone, self._lease = gone, lease

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._lease:
            slow = False
            try:
                try:
                    await unless_gone(receive, self._write(send))
                except (ClientGone, OSError, TimeoutError, TooSlow) as error:
                    slow = isinstance(error, TimeoutError | TooSlow)
                if not self._fold.ended:
                    await asyncio.shield(self._gone())
                if slow:
                    await _cut(scope, receive)
            finally:
                await self._reader.close()

    async def _write(self, send: Send) -> None:
        outbox = Outbox(send, self._pace)
        writing = asyncio.create_task(self._fill(outbox))
        delivering = asyncio.create_task(outbox.deliver(self.raw_headers))
        try:
            await asyncio.wait({writing, delivering}, return_when=asyncio.FIRST_EXCEPTION)
            for task in (writing, delivering):
                if task.done():
                    task.result()
        finally:
            await _stop(writing, delivering)

    async def _fill(self, outbox: Outbox) -> None:
        for event in self._first:
            outbox.put(self._fold.feed(event))
        try:
            while not self._fold.ended:
                came = await self._reader.next(self._pace.keep_alive_s)
                outbox.put(KEEP_ALIVE if came is None else self._fold.feed(came))
        except Draining as leaving:
            outbox.put(parting_words(from_core(leaving)))
        outbox.close()


async def _cut(scope: Scope, receive: Receive) -> None:
    """End the connection at once: closing it in good order would wait for the client to take what it does not take."""
    cut = scope.get("state", {}).get("cut")  # the server's (`server.py`)
    if cut is not None:
        cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await _until_gone(receive)
