"""Moves memory that is in use anyway into huge pages (Linux): a step reads all weights, and a page of 4 KiB has to be
looked up for each 4 KiB of them, in a virtual machine by two tables.

`madvise(MADV_COLLAPSE)` (Linux 6.1) copies the pages of an aligned range into one huge page. It needs nothing before a
process starts. The tunable of glibc that asks for huge pages at once (`glibc.malloc.hugetlb`) takes more memory: also
ranges of which little is used become whole pages.
"""

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

KERNEL = Path("/sys/kernel/mm/transparent_hugepage")
NODES = Path("/sys/devices/system/node/possible")
MADV_COLLAPSE = 25
MBIND = {"x86_64": 237, "aarch64": 235}  # numbers of the system call
MPOL_DEFAULT = 0
FULL = 0.95  # of a range's small pages that must be in memory: the others become memory too
ENTRY = 8  # bytes of /proc/self/pagemap for each page
PRESENT = np.uint64(1 << 63)
EVERY = 10.0  # seconds between looks: weights are packed at the first requests, not at load
AT_ONCE = 16  # huge pages, then a pause: each takes about 2 ms, in which nothing else can be mapped
PAUSE = 0.25  # seconds


@contextmanager
def kept(collapse_each: Callable[[], Iterator[int]] | None = None, every: float = EVERY) -> Iterator[None]:
    """While the block runs a thread moves what is in memory into huge pages."""
    stopped = threading.Event()
    thread = threading.Thread(
        target=_keep, args=(collapse_each or collapsing, every, stopped), name="huge pages", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _keep(collapse_each: Callable[[], Iterator[int]], every: float, stopped: threading.Event) -> None:
    while not stopped.wait(every):
        for number, _ in enumerate(collapse_each(), start=1):
            if stopped.wait(PAUSE if number % AT_ONCE == 0 else 0.0):
                return


def collapse() -> int:
    """Bytes that lie in huge pages then; 0 where the system has none or forbids them."""
    return sum(collapsing())


def collapsing(kernel: Path = KERNEL) -> Iterator[int]:
    """One huge page is made, or found made, before each of its sizes in bytes."""
    size = page_size(kernel)
    if size == 0:
        return
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    try:
        _join_mappings()
        with open("/proc/self/pagemap", "rb", buffering=0) as pages:
            for begin, end in _ranges(size):
                for start in _resident(pages.fileno(), begin, end, size):
                    # A range that is gone by now, or that the kernel refuses, is left as it is.
                    if madvise(start, size, MADV_COLLAPSE) == 0:
                        yield size
    except OSError:  # a sandbox that hides the file
        return


def page_size(kernel: Path = KERNEL) -> int:
    """Bytes of a huge page; 0 where the system has none or its administrator wants none (`never`)."""
    if sys.platform != "linux":
        return 0
    try:
        if "[never]" in (kernel / "enabled").read_text():
            return 0
        return int((kernel / "hpage_pmd_size").read_text())
    except (OSError, ValueError):
        return 0


def one_node() -> bool:
    """Whether all memory is equally near to each processor; False where it is not known."""
    try:
        return NODES.read_text().strip() == "0"
    except OSError:
        return False


def _join_mappings() -> None:
    """Neighbouring mappings become one where the machine has one memory node.

    OpenVINO binds each of its packed weights to a node, so each is a mapping of its own. A huge page lies within one.
    The kernel joins those that were used before they were bound.
    """
    number = MBIND.get(platform.machine())
    if number is None or not one_node():
        return
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.argtypes = (*(ctypes.c_long,) * 4, ctypes.c_void_p, ctypes.c_long, ctypes.c_long)
    for begin, end in _stretches():
        call(number, begin, end - begin, MPOL_DEFAULT, None, 0, 0)  # refused: each mapping stays as it is


def _stretches() -> Iterator[tuple[int, int]]:
    """Begin of the first and end of the last of mappings that follow one another without a gap."""
    stretch = (0, 0)
    for begin, end in _mappings():
        if begin != stretch[1]:
            if stretch[1]:
                yield stretch
            stretch = (begin, end)
        stretch = (stretch[0], end)
    yield stretch


def _ranges(size: int) -> Iterator[tuple[int, int]]:
    """Aligned addresses within each mapping."""
    for begin, end in _mappings():
        begin, end = -(-begin // size) * size, end // size * size
        if begin < end:
            yield begin, end


def _mappings() -> Iterator[tuple[int, int]]:
    """Begin and end of each private writable mapping that is of no file."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, access, _, _, inode, *name = line.split(maxsplit=5)
        if access == "rw-p" and inode == "0" and (not name or name[0] == "[heap]"):
            begin, end = place.split("-")
            yield int(begin, 16), int(end, 16)


def _resident(pages: int, begin: int, end: int, size: int) -> Iterator[int]:
    """The starts of those huge pages that are in memory but for a few small pages."""
    small = os.sysconf("SC_PAGE_SIZE")
    each, at_once = size // small, 512 * size
    for start in range(begin, end, at_once):
        count = min(at_once, end - start) // small
        entries = np.frombuffer(os.pread(pages, count * ENTRY, start // small * ENTRY), np.uint64)
        present = (entries[: len(entries) // each * each] & PRESENT != 0).reshape(-1, each).mean(axis=1)
        yield from (start + int(index) * size for index in np.flatnonzero(present >= FULL))
