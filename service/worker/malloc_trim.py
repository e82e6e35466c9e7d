"""Gives memory that the allocator holds unused back to the system, at most once a minute."""

import ctypes
import sys
import time
from collections.abc import Callable

EVERY = 60.0  # seconds


class MallocTrim:
    """`turned` gives back at most once in `EVERY` seconds. `trim` is glibc's malloc_trim, or does nothing elsewhere.

    Steps of changing sizes fragment the heap; glibc by itself gives back only the memory at a heap's end.
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
    """Gives all unused pages of malloc back; does nothing where the C library cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return (lambda: None) if trim is None else (lambda: trim(0))
