"""Moves memory that is in use anyway into huge pages (Linux): a step reads all weights, and a page of 4 KiB has to be
looked up for each 4 KiB of them, in a virtual machine by two tables.

`madvise(MADV_COLLAPSE)` (Linux 6.1) copies the pages of an aligned range into one huge page. It needs nothing before a
process starts. The tunable of glibc that asks for huge pages at once (`glibc.malloc.hugetlb`) takes more memory: also
ranges of which little is used become whole pages.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

KERNEL = Path("/sys/kernel/mm/transparent_hugepage")
MADV_COLLAPSE = 25
FULL = 0.95  # of a range's small pages that must be in memory: the others become memory too
ENTRY = 8  # bytes of /proc/self/pagemap for each page
PRESENT = np.uint64(1 << 63)


def collapse() -> int:
    """Bytes that lie in huge pages then; 0 where the system has none or forbids them."""
    return sum(collapsing())


def collapsing() -> Iterator[int]:
    """One huge page is made, or found made, before each of its sizes in bytes."""
    size = page_size()
    if size == 0:
        return
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as pages:
            for begin, end in _ranges(size):
                for start in _resident(pages.fileno(), begin, end, size):
                    # A range that is gone by now, or that the kernel refuses, is left as it is.
                    if madvise(start, size, MADV_COLLAPSE) == 0:
                        yield size
    except OSError:  # a sandbox that hides the file
        return


def page_size() -> int:
    """Bytes of a huge page; 0 where the system has none or its administrator wants none (`never`)."""
    if sys.platform != "linux":
        return 0
    try:
        if "[never]" in (KERNEL / "enabled").read_text():
            return 0
        return int((KERNEL / "hpage_pmd_size").read_text())
    except (OSError, ValueError):
        return 0


def _ranges(size: int) -> Iterator[tuple[int, int]]:
    """Aligned addresses within each private writable mapping that is of no file."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, access, _, _, inode, *name = line.split(maxsplit=5)
        if access != "rw-p" or inode != "0" or (name and name[0] != "[heap]"):
            continue
        begin, end = (int(address, 16) for address in place.split("-"))
        begin, end = -(-begin // size) * size, end // size * size
        if begin < end:
            yield begin, end


def _resident(pages: int, begin: int, end: int, size: int) -> Iterator[int]:
    """The starts of those huge pages that are in memory but for a few small pages."""
    small = os.sysconf("SC_PAGE_SIZE")
    each, at_once = size // small, 512 * size
    for start in range(begin, end, at_once):
        count = min(at_once, end - start) // small
        entries = np.frombuffer(os.pread(pages, count * ENTRY, start // small * ENTRY), np.uint64)
        present = (entries[: len(entries) // each * each] & PRESENT != 0).reshape(-1, each).mean(axis=1)
        yield from (start + int(index) * size for index in np.flatnonzero(present >= FULL))
