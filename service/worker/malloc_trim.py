"""Gives memory that the allocator holds unused back to the system, at most once a minute."""

import ctypes
import sys
import time
from collections.abc import Callable

EVERY = 60.0  # seconds


class MallocTrim:
    """Memory is to be given back at `due` (`time.monotonic`), every `EVERY` seconds. `release` is glibc's malloc_trim,
    or does nothing elsewhere.

    Steps of changing sizes fragment the heap; glibc by itself gives back only the memory at a heap's end.
    """

    def __init__(
        self, release: Callable[[], object] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._release, self._clock = release or of_this_system(), clock
        self.due = clock() + EVERY

    def trim(self) -> None:
        self._release()
        self.due = self._clock() + EVERY


def of_this_system() -> Callable[[], object]:
    """Gives all unused pages of malloc back; does nothing where the C library cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return (lambda: None) if trim is None else (lambda: trim(0))
