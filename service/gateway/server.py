"""The HTTP server under the application: uvicorn, with bounds on a request's head and a drain on SIGTERM.

uvicorn's parser takes a head of any size at any pace; the application sees it only when it is whole. So size and time
are bounded here, where bytes arrive.
"""

import asyncio
import gc
import json
import signal
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.gateway.app import create_app, leave, terminate
from service.gateway.errors import GatewayError, error_object
from service.gateway.half_closed import ResetWatch, probe
from service.gateway.middleware import new_request_id
from service.gateway.state import GatewayState
from service.settings import GatewaySettings, Settings

BACKLOG = 2048
CLOSING_S = 1.0  # of a drain's time, in which the last errors are sent
LINGER_S = 1.0


class GatewayServer(uvicorn.Server):
    """Leaves in good order. SIGTERM: not ready at once, so that balancers send no more, but everything that still comes
    is taken for `delay_s`; then the listener closes and running answers get `grace_s`, those too whose requests come
    on connections that were accepted before. SIGINT, or a second signal, skips the delay.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, grace_s: float, delay_s: float) -> None:
        super().__init__(config)
        self._app, self._grace_s, self._delay_s = app, grace_s, delay_s
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  as uvicorn's own
        gateway: GatewayState | None = getattr(self._app.state, "gateway", None)
        patient = sig == signal.SIGTERM and self._delay_s > 0 and self.started
        if gateway is None or self._loop is None or not patient or gateway.terminating:
            self._close(sig)
            return
        terminate(self._app)
        self._loop.call_soon_threadsafe(self._loop.call_later, self._delay_s, self._close, sig)

    def _close(self, sig: int) -> None:
        if hasattr(self._app.state, "gateway"):  # not before the application has started
            terminate(self._app)
        super().handle_exit(sig, None)
        self._captured_signals.clear()  # else uvicorn, once drained, sends itself the signal: a drain is no failure

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Running requests get most of the drain's time; the rest is for sending the errors that end them."""
        if hasattr(self._app.state, "gateway"):
            most = max(self._grace_s - CLOSING_S, self._grace_s / 2)
            asyncio.get_running_loop().call_later(most, leave, self._app)
        await super().shutdown(sockets)


def run(settings: Settings) -> int:
    """Serve until a signal has drained it: 0; 3 when it could not start, as uvicorn says it."""
    return serve(make(settings))


def serve(server: GatewayServer) -> int:
    """The same with a server that was made."""
    _quiet_collector()
    server.run()
    return 0 if server.started else 3


def _quiet_collector() -> None:
    """A full collection looks at everything that a thousand open streams hold and stops them all for a tenth of a
    second and more, for next to nothing: counting references frees almost all of it. What is there now stays, so it is
    never looked at again; what is young is looked at as before, the rest fifty times more seldom.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


def make(settings: Settings) -> GatewayServer:
    """A server that is ready to run."""
    ours = settings.gateway
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=ours.host,
        port=ours.port,
        http=bounded(ours),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=max(1, round(ours.drain_grace_s)),
    )
    return GatewayServer(config, app, ours.drain_grace_s, ours.shutdown_delay_s)


def bounded(ours: GatewaySettings) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, which answers 431 to a head above `max_header_bytes`, 408 to one that takes too long."""

    class Bounded(_Bounded):
        max_header_bytes = ours.max_header_bytes
        header_timeout_s = ours.header_timeout_s

    return Bounded


class _UntilClose(int):
    """A length that fits every body, in uvicorn's account of what is still to come."""

    def __lt__(self, _other: object) -> bool:
        return False

    def __sub__(self, _other: object) -> "_UntilClose":
        return self

    def __ne__(self, _other: object) -> bool:
        return False

    def __eq__(self, _other: object) -> bool:
        return True

    __hash__ = int.__hash__


class LingeringTransport:
    """Lingering close, as in nginx: where the client still sends, `close` ends our side at once and the connection
    after `LINGER_S`.

    A socket that is closed with unread bytes is reset, and the reset discards the answer that the client has not read
    yet. A connection that stays open for the rest of a refused body is held for as long as its client likes.
    """

    def __init__(self, transport: asyncio.Transport, still_sends: Callable[[], bool]) -> None:
        self._transport, self._still_sends = transport, still_sends
        self.write = transport.write  # for every token of every stream
        self.lingering: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self.lingering is not None or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        if not self._still_sends() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self.lingering = asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)
        self._transport.resume_reading()
        self._transport.write_eof()

    def lost(self) -> None:
        """The connection is gone. Drops what is held: a ring of references would wait for the collector."""
        if self.lingering is not None:
            self.lingering.cancel()
        self._still_sends = bool


class _Bounded(HttpToolsProtocol):
    max_header_bytes: int
    header_timeout_s: float
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    _refused = False
    _half_closed: ResetWatch | None = None
    transport: LingeringTransport  # type: ignore[assignment]  # stands for the real one

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(LingeringTransport(transport, self._still_sends))  # type: ignore[arg-type]  # does as one
        self._await_head()  # a connection that says nothing has its time too

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["received"] = time.perf_counter()
        self.scope["state"]["cut"] = self.transport.abort  # for a client that stopped reading
        self.scope["state"]["unread"] = self._still_sends  # for an answer that comes before the body's end
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_done()
        super().on_headers_complete()
        if self.parser.get_http_version() == "1.0" and self.cycle is not None:
            # HTTP/1.0 knows no chunks: the end of a body without a length is the end of the connection.
            self.cycle.chunked_encoding = False
            self.cycle.expected_content_length = _UntilClose()

    def data_received(self, data: bytes) -> None:
        if self.transport.lingering is not None:
            return
        super().data_received(data)
        if self._deadline is not None:  # still within the head
            self._head_bytes += len(data)
            if self._head_bytes > self.max_header_bytes:
                self._refuse("headers_too_large", f"The head is larger than {self.max_header_bytes} bytes.")

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio's own
        """Whether the connection stays open: while the answer to a whole request is not yet complete."""
        if self.transport.is_closing() or self._deadline is not None or not self._owes_answer():
            return False
        self.cycle.keep_alive = False
        if self._half_closed is None:
            self._half_closed = ResetWatch(self.transport.get_extra_info("socket"), self.transport.abort)
            if not self.pipeline:  # else another answer than this cycle's is under way
                self.transport.write(probe(self.cycle))
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_done()
        if self._half_closed is not None:
            self._half_closed.close()
            self._half_closed = None
        super().connection_lost(exc)
        self.transport.lost()
        if self.scope is not None:
            for name in ("cut", "unread"):  # they lead back here; a ring of references waits for the collector
                self.scope["state"].pop(name, None)

    def _still_sends(self) -> bool:
        return self._refused or (self.cycle is not None and self.cycle.more_body)

    def _owes_answer(self) -> bool:
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _await_head(self) -> None:
        if self._deadline is None:
            self._head_bytes = 0
            self._deadline = self.loop.call_later(self.header_timeout_s, self._too_slow)

    def _head_done(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._refuse("head_timeout", f"The head did not arrive within {self.header_timeout_s:g} seconds.")

    def send_400_response(self, _msg: str) -> None:
        """What uvicorn says to bytes that are no HTTP, in the shape of every other refusal."""
        self._refuse("invalid_request", "The request cannot be read as HTTP.")

    def _refuse(self, code: str, message: str) -> None:
        self._head_done()
        if self.transport.is_closing():
            return
        self._refused = True
        error = GatewayError(code, message)
        body = json.dumps(error_object(error)).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "x-request-id": new_request_id(),
            "connection": "close",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        status = HTTPStatus(error.row.status)
        self.transport.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n".encode() + body)
        self.transport.close()
