"""A way to the gateway that can be cut, as a lost network does for a browser."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

EVENTS = b"text/event-stream; charset"  # in a response's head; a request's `Accept` has no charset


class CuttableProxy:
    """Passes bytes on. After `cut` every connection is closed, and new ones too, until `mend`.

    `lose` lets nothing more through on the connection of the stream that began last, and does not close it, as for a
    phone that has changed its network. Not on the one used last: the page asks for other things meanwhile.
    """

    def __init__(self, url: str) -> None:
        self._to = (urlsplit(url).hostname, urlsplit(url).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._whole = True
        self._streaming = threading.Event()  # of the connection of the stream that began last: set once it is lost
        self.refused = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self) -> None:
        self._whole = False
        for one in self._open:
            _shut(one)
        self._open.clear()

    def mend(self) -> None:
        self._whole = True

    def lose(self) -> None:
        self._streaming.set()

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._whole:
                    self.refused += 1
                    near.close()
                    continue
                far = socket.create_connection(self._to)
                self._open += [near, far]
                lost = threading.Event()
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(one, other, lost), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(65536):
                if not lost.is_set():
                    if EVENTS in piece:
                        self._streaming = lost
                    other.sendall(piece)
        if not lost.is_set():  # else the end does not arrive either
            _shut(other)
        one.close()  # each socket is read by one thread


def _shut(one: socket.socket) -> None:
    """Wakes the thread that reads it."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def cuttable(url: str) -> Iterator[CuttableProxy]:
    proxy = CuttableProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
