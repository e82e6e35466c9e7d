"""A connection of the HTTP server: uvicorn's protocol, with bounds on a request's head, and an end that loses nothing.

uvicorn's parser takes a head of any size at any pace; the application sees it only when it is whole. So size and time
are bounded here, where bytes arrive.
"""

import asyncio
import json
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.gateway.connections.half_closed import ResetWatch, probe
from service.gateway.errors import GatewayError, error_object
from service.gateway.observation import new_http_request_id
from service.settings import GatewaySettings

LINGER_S = 1.0


def bounded(ours: GatewaySettings) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, which answers 431 to a head above `max_header_bytes`, 408 to one that takes too long."""

    class Bounded(BoundedProtocol):
        max_header_bytes = ours.max_header_bytes
        header_timeout_s = ours.header_timeout_s
        idle_timeout_s = ours.idle_timeout_s

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
    """Lingering close, as in nginx, by which an answer that comes before the request's end reaches its client: where
    the client still sends, `close` ends our side at once and the connection after `LINGER_S`.

    A socket that is closed with unread bytes is reset, and the reset discards the answer that the client has not read
    yet. A connection that stays open for the rest of a refused body is held for as long as its client likes.
    """

    def __init__(self, transport: asyncio.Transport, still_sends: Callable[[], bool]) -> None:
        self._transport, self._still_sends = transport, still_sends
        self.write, self.abort = transport.write, transport.abort  # for every token of every stream, for every request
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


class BoundedProtocol(HttpToolsProtocol):
    """Times in seconds."""

    max_header_bytes: int
    header_timeout_s: float
    idle_timeout_s: float
    _outlasts = False
    _idle_since = 0.0
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    _refused = False
    _half_closed: ResetWatch | None = None
    transport: LingeringTransport  # type: ignore[assignment]  # stands for the real one

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(LingeringTransport(transport, self._still_sends))  # type: ignore[arg-type]  # does as one
        self._await_head()  # a connection without a request has its time too
        self.timeout_keep_alive = self.idle_timeout_s  # type: ignore[assignment]  # any number of seconds
        self._idle_since = self.loop.time()

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

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def outlast(self, idle_s: float) -> None:
        """The server leaves: from now on a connection without a request closes after `idle_s`, and not before.

        An answer that began earlier announced no end of its connection, and a proxy may send the next request on it.
        """
        self.timeout_keep_alive = idle_s  # type: ignore[assignment]  # any number of seconds
        self._outlasts = True

    def shutdown(self) -> None:
        """The server leaves."""
        if not self._outlasts:
            super().shutdown()
        elif self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            left = self._idle_since + self.timeout_keep_alive - self.loop.time()
            self.timeout_keep_alive_task = self.loop.call_later(max(left, 0), self.timeout_keep_alive_handler)

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
        """uvicorn's answer to bytes that are no HTTP, in the shape of every other refusal."""
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
            "x-request-id": new_http_request_id(),
            "connection": "close",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        status = HTTPStatus(error.row.status)
        self.transport.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n".encode() + body)
        self.transport.close()
