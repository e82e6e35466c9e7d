"""Gives memory that the allocator holds unused back to the system: when work has ended, and once a minute within it."""

import ctypes
import math
import sys
from collections.abc import Callable

EVERY = 60.0  # seconds, while there is work
IDLE = 2.0  # seconds after the last work


class MallocTrim:
    """`release` is glibc's malloc_trim, or does nothing elsewhere. Times are of `time.monotonic`.

    The worker's loop sets `worked_at` at each turn with work, and calls `look` from `look_at` on. So a turn costs two
    comparisons.

    Steps of changing sizes fragment the heap; glibc by itself gives back only the memory at a heap's end.
    """

    def __init__(self, release: Callable[[], object] | None = None, idle: float = IDLE) -> None:
        self._release, self._idle = release or of_this_system(), idle
        self.worked_at, self.look_at = -math.inf, -math.inf
        self._released_at = -math.inf
        self._working_since: float | None = None

    def look(self, now: float) -> None:
        self.look_at = now + self._idle / 4
        if self.worked_at <= self._released_at:
            return
        if self._working_since is None:
            self._working_since = now
        if now >= min(self._working_since + EVERY, self.worked_at + self._idle):
            self._release()
            self._released_at, self._working_since = now, None


def of_this_system() -> Callable[[], object]:
    """Gives all unused pages of malloc back; does nothing where the C library cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return (lambda: None) if trim is None else (lambda: trim(0))
