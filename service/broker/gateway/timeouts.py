"""A time limit that is cheap to set and to lift thousands of times a second.

A timer of the event loop for every wait costs more than most waits are worth. Here setting the limit notes a time; the
one timer that runs looks, when it fires, whether that time has come, and else sleeps on.
"""

import asyncio
from collections.abc import Callable


def _nobody() -> None:
    pass


class LazyTimeout:
    """Calls `ring` once `seconds` have passed since the last `set`, unless lifted. Belongs to the running loop."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fires = 0.0

    def set(self, seconds: float) -> None:
        self._due = due = self._loop.time() + seconds
        if self._timer is None or due < self._fires:
            self._sleep(due)

    def lift(self) -> None:
        self._due = None

    def close(self) -> None:
        """Lift it for good, and let go of the timer and of whom it would wake."""
        self._due, self._ring = None, _nobody
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sleep(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires = until
        self._timer = self._loop.call_at(until, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self._due > self._loop.time():
            self._sleep(self._due)
            return
        self._due = None
        self._ring()
