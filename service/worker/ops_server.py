"""The worker's own small HTTP port for operators: /metrics, /health/live, /health/ready.

It answers from before the model is loaded, so that an orchestrator can distinguish "still loads" from "hangs": live
while the model loads and while the loop turns, ready once the worker takes requests and until it drains.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from prometheus_client import CollectorRegistry, make_wsgi_app

from service.broker.worker.heartbeat import STALL_S
from service.metrics.exposition import Application, Environ, Start, operators_port


class Loop(Protocol):
    """A worker's loop, as far as its health goes."""

    @property
    def silent_s(self) -> float:
        """Seconds since its last turn."""
        ...

    @property
    def draining(self) -> bool: ...


class Health:
    """Answers to the probes. `begin` marks the end of loading."""

    def __init__(self, stall_s: float = STALL_S) -> None:
        self._stall_s = stall_s
        self._loop: Loop | None = None

    def begin(self, loop: Loop) -> None:
        self._loop = loop

    def live(self) -> tuple[bool, str]:
        """Whether to leave the process alone, and why."""
        if self._loop is None:
            return True, "loading"
        silent = self._loop.silent_s
        return (False, f"the loop has not turned for {silent:.0f} s") if silent > self._stall_s else (True, "ok")

    def ready(self) -> tuple[bool, str]:
        """Whether the worker takes requests, and why not."""
        if self._loop is None:
            return False, "loading"
        return (False, "draining") if self._loop.draining else self.live()


@contextmanager
def ops_served(host: str, port: int, registry: CollectorRegistry, health: Health) -> Iterator[int]:
    """Serve on that address while the block lasts (0: nothing is served); gives the port."""
    if not port:
        yield 0
        return
    with operators_port(host, port, _application(registry, health)) as served:
        yield served


def _application(registry: CollectorRegistry, health: Health) -> Application:
    exposition, probes = make_wsgi_app(registry), {"/health/live": health.live, "/health/ready": health.ready}

    def application(environ: Environ, start: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            text: Iterable[bytes] = exposition(environ, start)
            return text
        probe = probes.get(path)
        good, word = probe() if probe else (False, "there is no such endpoint")
        status = "200 OK" if good else "503 Service Unavailable" if probe else "404 Not Found"
        start(status, [("content-type", "application/json")])
        return [json.dumps({"status": word}).encode()]

    return application
