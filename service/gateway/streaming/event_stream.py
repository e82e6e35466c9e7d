"""Between the broker's events and one client: keep-alives, slow readers, clients that go away, and our own going.

In every case the events are closed, and `on_gone` is called where the client left before the end.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.broker.errors import Draining
from service.broker.protocol import Event, Failed, Started, Token
from service.gateway.connections.half_closed import COMMENT
from service.gateway.errors import GatewayError, from_core
from service.gateway.middleware import HEAD_ONLY, SEND_BODY
from service.gateway.observation import Events, Observation
from service.gateway.streaming.chunks import AnswerChunks, failure

_T = TypeVar("_T")
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class ClientDisconnected(Exception):
    """The client closed its connection before the answer's end."""


def check_stays(leaving: asyncio.Event) -> None:
    """Check that this gateway still takes requests. Raises Draining."""
    if leaving.is_set():
        raise Draining("this gateway is going away; try again")


def shutdown_error() -> Draining:
    """The end of a whole answer that this gateway has no more time for."""
    return Draining("this gateway is going away before the answer's end; try again")


def hand_over_error(request_id: str) -> Draining:
    """The end of this gateway's part of a stream: the request runs on, and any other gateway has its events."""
    return Draining(
        "this gateway is going away; the request goes on. Its further events, from any gateway: "
        f"GET /v1/requests/{request_id}/events with Last-Event-ID"
    )


def _nothing(*_: object) -> None:
    pass


Disconnection = asyncio.Task[None]  # ends when the client has closed its connection


@asynccontextmanager
async def watch_connection(receive: Receive) -> AsyncIterator[Disconnection]:
    """One task for a request, once its body is read."""
    task = asyncio.create_task(_until_disconnected(receive))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_disconnect(
    gone: Disconnection,
    work: Coroutine[None, None, _T],
    leaving: asyncio.Event | None = None,
    on_gone: Callable[[], None] = _nothing,
    late: Callable[[_T], None] = _nothing,
) -> _T:
    """The result of `work`. Cancels it and raises ClientDisconnected or, after `leaving` is set, Draining.

    `on_gone` is called first of all when the client has disconnected; `late` with a result that came all the same.
    """
    task = asyncio.create_task(work)
    shutdown = [asyncio.create_task(leaving.wait())] if leaving is not None else []
    try:
        await asyncio.wait({task, gone, *shutdown}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        has_left = gone.done()  # the shutdown turns away a client that leaves while the work stops
        if has_left:
            on_gone()
        await _stop(task)
        if not task.cancelled() and task.exception() is None:
            late(task.result())
        raise ClientDisconnected if has_left else shutdown_error()
    finally:
        if running := [one for one in (task, *shutdown) if not one.done()]:
            await _stop(*running)


async def first_events(events: Events) -> list[Event]:
    """Events until the answer begins, or silence. A failure before can still be an HTTP status."""
    first: list[Event] = []
    while came := await anext(events):
        first += came
        for event in came:
            if isinstance(event, Failed):
                raise failure(event)
            if isinstance(event, Started | Token):
                return first
    return first


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stop(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class StreamTimeouts:
    """Seconds of silence until a comment line; seconds a client may take nothing; bytes it may fall behind."""

    keep_alive_s: float = 10.0
    send_timeout_s: float = 30.0
    send_buffer_bytes: int = 1 << 20


class SlowClient(Exception):
    """The client takes less than its request makes, for longer than it may."""


class SendBuffer:
    """Bytes that one client has not taken yet. The server holds some 64 KB more before it makes us wait."""

    def __init__(self, send: Send, send_body: Send, timeouts: StreamTimeouts) -> None:
        self._loop = asyncio.get_running_loop()
        self._send, self._send_body, self._timeouts = send, send_body, timeouts
        self._waiting: list[bytes] = []
        self._size = 0
        self._closed = False
        self._due = math.inf  # the client's deadline for the bytes being sent; a time of the loop
        self._more = asyncio.Event()

    @property
    def time_left(self) -> float:
        """Seconds that the client may still take nothing."""
        return min(self._timeouts.send_timeout_s, self._due - self._loop.time())

    def put(self, data: bytes) -> None:
        """Raises SlowClient where the client is too far behind."""
        if data:
            self._waiting.append(data)
            self._size += len(data)
            if self._size > self._timeouts.send_buffer_bytes:
                raise SlowClient
            self._more.set()

    def close(self) -> None:
        self._closed = True
        self._more.set()

    async def deliver(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Head, body, end."""
        await self._give(self._send, {"type": "http.response.start", "status": 200, "headers": headers})
        last = False
        while not last:
            await self._more.wait()
            self._more.clear()
            body, last = b"".join(self._waiting), self._closed
            self._waiting.clear()
            await self._give(self._send_body, {"type": "http.response.body", "body": body, "more_body": not last})
            self._size -= len(body)

    async def _give(self, send: Send, message: dict[str, object]) -> None:
        self._due = self._loop.time() + self._timeouts.send_timeout_s
        await send(message)  # the server holds us while its buffer is full
        self._due = math.inf


class Frames(Protocol):
    """Folds events into the bytes of a stream. `keep_alive`: bytes that mean nothing, between two frames.

    `closing`: the end of this gateway's part of it.
    """

    @property
    def media_type(self) -> str: ...
    @property
    def keep_alive(self) -> bytes: ...
    @property
    def chunks(self) -> AnswerChunks: ...
    @property
    def ended(self) -> bool: ...
    def feed(self, events: Iterable[Event]) -> bytes: ...
    def closing(self, error: GatewayError) -> bytes: ...


class EventStream(Response):
    """The answer that streams. `first` are events already read, none where it was quiet so
    long, and None where none was waited for; `lease` is closed at the end, come what may.

    `leaving` is set when this gateway has no more time for running answers: `hand_over` then leaves the request to
    whoever reads it next. `on_gone` is called where the client left before the end; `gone` is the watch of its
    connection, None where none was begun.
    """

    def __init__(
        self,
        events: Events,
        gone: Disconnection | None,
        first: Sequence[Event] | None,
        fold: Frames,
        timeouts: StreamTimeouts,
        on_gone: Callable[[], None],
        hand_over: Callable[[], Awaitable[None]],
        lease: AsyncExitStack,
        headers: Mapping[str, str],
        leaving: asyncio.Event,
        seen: Observation,
    ) -> None:
        self.status_code, self.background, self.media_type = 200, None, fold.media_type
        self.init_headers({**headers, **STREAM_HEADERS})
        self._events, self._first, self._fold, self._timeouts = events, first, fold, timeouts
        self._on_gone, self._hand_over, self._lease, self._leaving = on_gone, hand_over, lease, leaving
        self._gone, self._seen = gone, seen
        self._handed_over = self._left = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._lease:
            slow, seen, state = False, self._seen, scope.setdefault("state", {})
            if state.get(HEAD_ONLY):
                await self._events.aclose()
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b""})
                return
            state[COMMENT] = self._fold.keep_alive
            gone = self._gone
            if gone is None:
                gone = await self._lease.enter_async_context(watch_connection(receive))
            try:
                try:
                    await self._relay(gone, send, state.get(SEND_BODY, send))
                except (ClientDisconnected, OSError, SlowClient) as error:
                    slow = isinstance(error, SlowClient)
                    seen.outcome = "client_too_slow" if slow else "client_gone"
                if self._handed_over and seen.outcome is None:
                    seen.outcome = "handed_over"
                if self._handed_over and not self._fold.ended:
                    await asyncio.shield(self._hand_over())
                elif not self._fold.ended:
                    self._leave()
                if slow:
                    await _cut(scope, gone)
            finally:
                await self._events.aclose()

    async def _relay(self, gone: Disconnection, send: Send, send_body: Send) -> None:
        buffer = SendBuffer(send, send_body, self._timeouts)
        filling = asyncio.create_task(self._fill(buffer))
        delivering = asyncio.create_task(buffer.deliver(self.raw_headers))
        shutdown = asyncio.create_task(self._leaving.wait())
        running: set[asyncio.Task[Any]] = {filling, delivering, gone, shutdown}
        try:
            while not delivering.done():
                # A timer for every wait of a stream would cost more than most waits: one look comes when it may be due.
                left = buffer.time_left
                done, running = await asyncio.wait(running, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not done and buffer.time_left <= 0:
                    raise SlowClient
                if gone in done and not delivering.done():  # the server sees an end of its own as one too
                    self._leave()  # before anything is waited for
                    raise ClientDisconnected
                if filling in done:
                    filling.result()
                if shutdown in done and not filling.done():
                    await _stop(filling)
                    running.discard(filling)
                    self._handed_over = True
                    error = from_core(hand_over_error(self._fold.chunks.answer.id))
                    buffer.put(self._fold.closing(error))
                    buffer.close()
            delivering.result()
        finally:
            await _stop(filling, delivering, shutdown)

    def _leave(self) -> None:
        if not self._fold.ended and not self._left and not self._handed_over:
            self._left = True
            self._on_gone()

    async def _fill(self, buffer: SendBuffer) -> None:
        if self._first is not None:
            buffer.put(self._fold.feed(self._first) or self._fold.keep_alive)
        while not self._fold.ended:
            came = await anext(self._events)
            buffer.put(self._fold.feed(came) if came else self._fold.keep_alive)
        buffer.close()


async def _cut(scope: Scope, gone: Disconnection) -> None:
    """End the connection at once: closing it in good order would wait for the client to take what it does not take."""
    cut = scope.get("state", {}).get("cut")  # the server's (`connections/protocol.py`)
    if cut is not None:
        cut()
        await asyncio.wait({gone}, timeout=1.0)
