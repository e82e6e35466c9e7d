"""A worker's memory in huge pages: used memory goes into them beside its work, seldom used memory does not."""

import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.worker import huge_pages
from tests.conftest import ROOT
from tests.worker.huge_pages_here import needs_huge_pages

ASKED = """
import mmap, sys
from pathlib import Path
from service.worker import huge_pages
def held(what):
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what + ":")) << 10
size = huge_pages.page_size()
room = mmap.mmap(-1, 16 * size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
room.madvise(mmap.MADV_NOHUGEPAGE)  # else a system that always takes huge pages makes them at once
used = range(0, len(room), int(sys.argv[1]) * mmap.PAGESIZE)
for page in used:
    room[page] = page // mmap.PAGESIZE % 251 + 1
room.madvise(mmap.MADV_HUGEPAGE if len(sys.argv) == 2 else mmap.MADV_NOHUGEPAGE)
before, huge = held("Rss"), held("AnonHugePages")
huge_pages.collapse()
assert all(room[page] == page // mmap.PAGESIZE % 251 + 1 for page in used)
print((held("AnonHugePages") - huge) // size, (held("Rss") - before) // size)
"""


def collapsed(every: int, *arguments: str) -> tuple[int, int]:
    """Huge pages that another process made where one of `every` small ones is used, and by how many its memory grew."""
    command = [sys.executable, "-c", ASKED, str(every), *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    made, grown = map(int, ran.stdout.split())
    return made, grown


@needs_huge_pages
def test_memory_in_use_goes_into_huge_pages_and_takes_no_more_of_it() -> None:
    made, grown = collapsed(1)
    assert made >= 15
    assert grown <= 1


@needs_huge_pages
def test_memory_of_which_little_is_used_stays_in_small_pages() -> None:
    made, grown = collapsed(2)
    assert made <= 8  # of the interpreter's own
    assert grown <= 1


@needs_huge_pages
def test_memory_that_refuses_huge_pages_is_left_as_it_is() -> None:
    assert collapsed(1, "refuse")[0] <= 8


BOUND = """
import ctypes, mmap, platform, sys
from pathlib import Path
from service.worker import huge_pages
size = huge_pages.page_size()
room = mmap.mmap(-1, 8 * size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
begin = ctypes.addressof(ctypes.c_char.from_buffer(room))
def mappings():
    return sum(begin <= start < begin + len(room) for start, _ in huge_pages._mappings())
for page in range(0, len(room), mmap.PAGESIZE):  # first: what was first used in mappings of its own is never joined
    room[page] = 1
nodes = ctypes.c_ulong(1)
for at in range(0, len(room), size):  # each second half of what could be a huge page is bound to node 0
    bound = ctypes.CDLL(None).syscall(
        huge_pages.MBIND[platform.machine()], ctypes.c_ulong(begin + at + size // 2), ctypes.c_ulong(size // 2), 2,
        ctypes.byref(nodes), ctypes.c_ulong(64), 0)
    if bound != 0:
        sys.exit(3)
before = mappings()
huge_pages.collapse()
print(before, mappings())
"""


@needs_huge_pages
@pytest.mark.skipif(platform.machine() not in huge_pages.MBIND, reason="the system call's number is not known here")
@pytest.mark.skipif(not huge_pages.one_node(), reason="memory lies on several nodes, where a binding has a meaning")
def test_pieces_bound_to_the_only_node_become_one_mapping() -> None:
    ran = subprocess.run([sys.executable, "-c", BOUND], cwd=ROOT, capture_output=True, check=False)
    if ran.returncode == 3:
        pytest.skip("this system does not let a process bind its memory")
    assert ran.returncode == 0, ran.stderr
    before, after = map(int, ran.stdout.split())
    assert before >= 14
    assert after <= 2


@pytest.mark.parametrize(
    ("enabled", "size", "expected"),
    [
        ("always [madvise] never", "2097152", 2 << 20),
        ("[always] madvise never", "33554432", 32 << 20),
        ("always madvise [never]", "2097152", 0),
        ("always [madvise] never", None, 0),
    ],
)
def test_huge_pages_are_as_large_as_the_kernel_says_unless_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enabled: str, size: str | None, expected: int
) -> None:
    (tmp_path / "enabled").write_text(enabled)
    if size is not None:
        (tmp_path / "hpage_pmd_size").write_text(size)
    monkeypatch.setattr(sys, "platform", "linux")
    assert huge_pages.page_size(tmp_path) == expected


def test_a_system_without_huge_pages_is_left_alone(tmp_path: Path) -> None:
    assert list(huge_pages.collapsing(tmp_path)) == []


def test_the_thread_looks_again_and_again_until_the_worker_ends() -> None:
    looked = threading.Semaphore(0)

    def collapsing() -> Iterator[int]:
        looked.release()
        yield from (1, 1)

    with huge_pages.kept(collapsing, every=0.001):
        for _ in range(3):
            assert looked.acquire(timeout=60)
    assert not any(thread.name == "huge pages" for thread in threading.enumerate())


def test_a_worker_that_ends_does_not_wait_for_all_of_its_memory() -> None:
    begun = threading.Event()

    def endless() -> Iterator[int]:
        while True:
            begun.set()
            yield 1

    with huge_pages.kept(endless, every=0.001):
        assert begun.wait(60)
    assert not any(thread.name == "huge pages" for thread in threading.enumerate())
