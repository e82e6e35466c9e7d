"""Half-closed connections (RFC 9293, section 3.6): a client that has ended its sending side may still read its answer.

Its end of data looks like that of a client that has closed all. The difference shows when something is sent: a closed
socket resets the connection. So a few bytes that mean nothing are sent at once, and the socket's error is looked at.
"""

import asyncio
import socket
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

COMMENT = "comment"  # state of a request: bytes that may stand between two messages of its body
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
FIRST_S, LONGEST_S = 0.01, 1.0


def probe(cycle: RequestResponseCycle) -> bytes:
    """Bytes to send now that leave the answer as it is: an interim response, or a comment of an event stream."""
    if not cycle.response_started:
        return INTERIM if cycle.scope["http_version"] == "1.1" else b""
    comment: bytes = cycle.scope["state"].get(COMMENT, b"")
    return b"%x\r\n%b\r\n" % (len(comment), comment) if comment and cycle.chunked_encoding else comment


class ResetWatch:
    """Calls `on_reset` once the client has reset the connection. A transport that has read the end looks no more."""

    def __init__(self, sock: socket.socket, on_reset: Callable[[], None]) -> None:
        self._sock, self._on_reset = sock, on_reset
        self._loop = asyncio.get_running_loop()
        self._wait(FIRST_S)

    def _wait(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._look, min(2 * seconds, LONGEST_S))

    def _look(self, then_s: float) -> None:
        if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._on_reset()
        else:
            self._wait(then_s)

    def close(self) -> None:
        self._timer.cancel()
