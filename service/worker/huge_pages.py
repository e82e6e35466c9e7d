"""Keeps a worker's memory in huge pages, beside its work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pandagpt_core.huge_pages import collapsing

EVERY = 10.0  # seconds between looks: weights are packed at the first requests, not at load
AT_ONCE = 16  # huge pages, then a pause: each takes about 2 ms, in which nothing else can be mapped
PAUSE = 0.25  # seconds


@contextmanager
def kept(collapsing: Callable[[], Iterator[int]] = collapsing, every: float = EVERY) -> Iterator[None]:
    """While the block runs a thread moves what is in memory into huge pages."""
    stopped = threading.Event()
    thread = threading.Thread(target=_keep, args=(collapsing, every, stopped), name="huge pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _keep(collapsing: Callable[[], Iterator[int]], every: float, stopped: threading.Event) -> None:
    while not stopped.wait(every):
        for number, _ in enumerate(collapsing(), start=1):
            if stopped.wait(PAUSE if number % AT_ONCE == 0 else 0.0):
                return
