"""Gives memory that the allocator holds unused back to the system: when work has ended, and once a minute within it."""

import ctypes
import sys
import time
from collections.abc import Callable

EVERY = 60.0  # seconds, while there is work
IDLE = 2.0  # seconds after the last work


class MallocTrim:
    """`release` is glibc's malloc_trim, or does nothing elsewhere.

    Steps of changing sizes fragment the heap; glibc by itself gives back only the memory at a heap's end.
    """

    def __init__(
        self, release: Callable[[], object] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._release, self._clock = release or of_this_system(), clock
        self._worked_at: float | None = None  # None: not since memory was given back
        self._due = 0.0

    def turned(self, busy: bool) -> None:
        """A turn of the worker's loop is done. busy: whether it has work."""
        now = self._clock()
        if busy:
            if self._worked_at is None:
                self._due = now + EVERY
            self._worked_at = now
        if self._worked_at is not None and now >= min(self._due, self._worked_at + IDLE):
            self._release()
            self._worked_at = None


def of_this_system() -> Callable[[], object]:
    """Gives all unused pages of malloc back; does nothing where the C library cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return (lambda: None) if trim is None else (lambda: trim(0))
