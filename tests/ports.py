"""Ports for processes that a test starts."""

import itertools
import os
import random
import socket
from collections.abc import Iterator

FIRST, LAST = 12_000, 22_000  # below the ports of outgoing connections; a cluster's bus, 10,000 above, is so too
WORKERS = 16


def slice_of(worker: str) -> range:
    """The ports of one process of a parallel run: gw0, gw1 and so on; any other name is of the run without them."""
    number = int(worker[2:]) % WORKERS if worker.startswith("gw") else WORKERS - 1
    size = (LAST - FIRST) // WORKERS
    return range(FIRST + number * size, FIRST + (number + 1) * size)


def shuffled(ports: range) -> Iterator[int]:
    """All of them, over and over, in an order of this process: another run beside this one seldom meets it."""
    return itertools.cycle(random.SystemRandom().sample(ports, len(ports)))


_NEXT = shuffled(slice_of(os.environ.get("PYTEST_XDIST_WORKER", "")))


def free_port() -> int:
    """A port that nobody listens on, and that no other process of this run is given between now and its use."""
    while True:
        port = next(_NEXT)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
