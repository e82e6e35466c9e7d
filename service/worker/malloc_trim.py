"""Memory that the allocator keeps though nobody uses it goes back to the system."""

import ctypes
import sys
import time
from collections.abc import Callable

EVERY = 60.0  # seconds


class MallocTrim:
    """`turned` gives back at most once in `EVERY` seconds. `trim` is glibc's malloc_trim, or does nothing elsewhere.

    Steps of ever new sizes take ever new places among what lives on, and leave holes; glibc gives back by itself only
    what lies at a heap's end.
    """

    def __init__(self, trim: Callable[[], object] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._trim, self._clock = trim or of_this_system(), clock
        self._due = clock() + EVERY

    def turned(self) -> None:
        """The loop went round once more."""
        if self._clock() >= self._due:
            self._trim()
            self._due = self._clock() + EVERY


def of_this_system() -> Callable[[], object]:
    """Gives all pages back that malloc holds and nobody uses; nothing where the C library cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return (lambda: None) if trim is None else (lambda: trim(0))
