"""Many clients in one thread and one epoll: as little work a token as can be, for they share a core with the rest."""

import json
import selectors
import socket
import time
from array import array

from benchmarks.streams.gateway import TOKEN

OPENING = 64  # at once
PIECE = 1 << 16


class Clients:
    """Streams that are open, and how old each token was when a client had it, as pairs (when, age) in nanoseconds."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._opened: dict[socket.socket, bool] = {}
        self.ages = array("q")
        self.events = 0

    def open(self, streams: int, limit_s: float) -> None:
        """Open them all, and wait until each has had a token. Raises TimeoutError and ValueError (refused)."""
        until = time.monotonic() + limit_s
        while sum(self._opened.values()) < streams:
            while len(self._opened) < streams and list(self._opened.values()).count(False) < OPENING:
                self._ask(len(self._opened))
            self._turn(0.1)
            if time.monotonic() > until:
                raise TimeoutError(f"only {sum(self._opened.values())} of {streams} streams had a token")

    def run(self, seconds: float) -> None:
        """Take what comes."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._turn(left)

    def close(self) -> None:
        for connection in self._opened:
            self._selector.unregister(connection)
            connection.close()
        self._opened.clear()

    def _ask(self, number: int) -> None:
        body = json.dumps({"messages": [{"role": "user", "content": f"{number}"}], "max_tokens": 2000, "stream": True})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        connection.sendall((head + body).encode())
        connection.setblocking(False)
        self._opened[connection] = False
        self._selector.register(connection, selectors.EVENT_READ)

    def _turn(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            piece = connection.recv(PIECE)
            now = time.monotonic_ns()
            found = TOKEN.findall(piece)
            if found:
                self._opened[connection] = True
                for made in found:
                    self.ages.extend((now, now - int(made)))
            elif not piece or b'"error"' in piece:
                raise ValueError(f"a stream ended or was refused: {piece[:300]!r}")
