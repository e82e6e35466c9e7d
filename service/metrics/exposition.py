"""HEAD where a port of metrics answers GET."""

from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def with_head(application: Application) -> Application:
    """A WSGI application that answers HEAD with the status and headers of its GET, and no body."""

    def answer(environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "HEAD":
            return application(environ, start)
        begun: list[Any] = []
        body = application({**environ, "REQUEST_METHOD": "GET"}, lambda *head: begun.extend(head))
        status, headers = begun
        start(status, [*headers, ("Content-Length", str(sum(map(len, body))))])
        return []

    return answer
