"""Weights that OpenVINO reads once: it packs its own copy at the first runs, and this one leaves the memory then.

They lie in an unnamed file that is mapped, so the system can read them again where OpenVINO does.
"""

import mmap
import os
import shutil
import tempfile

import numpy as np

ALIGNMENT = 64  # bytes: of a vector register
SPARE = 4  # times the weights' size that has to be free where the file is made


class MappedWeights:
    """Room for `size` bytes of arrays. Plain memory where no file of that size can be had."""

    def __init__(self, size: int) -> None:
        self._room, self._used = mapped(size), 0

    def hold(self, array: np.ndarray) -> np.ndarray:
        """The same numbers in this room, or the array itself where there is none left."""
        if self._room is None or self._used + array.nbytes > len(self._room):
            return array
        held: np.ndarray = np.frombuffer(self._room, array.dtype, array.size, self._used).reshape(array.shape)
        held[...] = array
        self._used += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        return held

    def leave_memory(self) -> None:
        """Give the pages back; a later reader finds them in the file."""
        if self._room is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._room.madvise(mmap.MADV_DONTNEED)


def mapped(size: int) -> mmap.mmap | None:
    """A mapping of an unnamed file in the folder for temporary files; None where it has no room to spare."""
    try:
        if size == 0 or shutil.disk_usage(tempfile.gettempdir()).free < SPARE * size:
            return None
        with tempfile.TemporaryFile(prefix="pandagpt-weights-") as file:
            os.posix_fallocate(file.fileno(), 0, size)  # reserved: writing to it must not fail later
            return mmap.mmap(file.fileno(), size)
    except (OSError, AttributeError):  # a full or read-only folder, a system without the call
        return None
