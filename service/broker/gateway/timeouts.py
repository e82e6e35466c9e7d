"""A time limit that is cheap to set and to lift thousands of times a second.

A timer of the event loop for every wait costs more than most waits. Here setting the limit writes a time; one timer
runs, and when it fires it compares that time with the clock, and sleeps on or calls back.
"""

import asyncio
import math
from collections.abc import Callable


def _nobody() -> None:
    pass


class LazyTimeout:
    """Calls `callback` at `due`, a time of the running loop; `math.inf` is no limit. `seconds`: the first limit.

    A hot path may write `due` itself: `arm` is needed only where it is earlier than `fires_at`.
    """

    __slots__ = ("_callback", "_loop", "_timer", "due", "fires_at")

    def __init__(self, callback: Callable[[], None], seconds: float = math.inf) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.due = self.fires_at = math.inf
        if seconds < math.inf:
            self.set(seconds)

    def set(self, seconds: float) -> None:
        self.due = self._loop.time() + seconds
        if self.due < self.fires_at:
            self.arm()

    def arm(self) -> None:
        """Have the timer fire at `due`."""
        if self._timer is not None:
            self._timer.cancel()
        self.fires_at = self.due
        self._timer = self._loop.call_at(self.due, self._fire)

    def close(self) -> None:
        """Lift it for good, and drop the timer and the callback with all that it holds."""
        self.due, self._callback = math.inf, _nobody
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer, self.fires_at = None, math.inf
        if self.due == math.inf:
            return
        if self.due > self._loop.time():
            self.arm()
            return
        self.due = math.inf
        self._callback()
