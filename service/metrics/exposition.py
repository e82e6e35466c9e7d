"""The small HTTP port of a process for its operators: GET and HEAD, one thread a connection."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

Environ = dict[str, Any]
Start = Callable[..., Any]
Application = Callable[[Environ, Start], Iterable[bytes]]


@contextmanager
def operators_port(host: str, port: int, application: Application) -> Iterator[int]:
    """Serve the WSGI application on that address while the block lasts; gives the port (`port` 0: a free one)."""
    server = make_server(host, port, _as_written(application), _Server, _Quiet)
    thread = threading.Thread(target=server.serve_forever, name="operators port", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a scraper that stalls must not hold up the next one, nor the process's end


class _Quiet(WSGIRequestHandler):
    timeout = 10.0  # seconds that a connection may send nothing

    def log_message(self, format: str, *args: object) -> None:
        """Probes and scrapes are no news."""


def _as_written(application: Application) -> Application:
    """The application with HEAD, which has the status and headers of its GET and no body; a doubled Host is refused."""

    def answer(environ: Environ, start: Start) -> Iterable[bytes]:
        if "," in environ.get("HTTP_HOST", ""):  # wsgiref joins a header that comes twice
            start("400 Bad Request", [("Content-Type", "text/plain")])
            return [b"The head has more than one Host.\n"]
        if environ["REQUEST_METHOD"] != "HEAD":
            return application(environ, start)
        begun: list[Any] = []
        body = application({**environ, "REQUEST_METHOD": "GET"}, lambda *head: begun.extend(head))
        status, headers = begun
        start(status, [*headers, ("Content-Length", str(sum(map(len, body))))])
        return []

    return answer
