"""Unused memory of the allocator goes back to the system, now and then."""

import platform
import subprocess
import sys
from collections.abc import Callable

import pytest

from service.worker.malloc_trim import EVERY, IDLE, MallocTrim
from tests.conftest import ROOT


def trims(busy: Callable[[float], bool], seconds: int) -> list[float]:
    """Seconds at which memory was given back, by a loop of ten turns a second that is busy at such seconds."""
    now, trimmed = 0.0, list[float]()
    spare = MallocTrim(lambda: trimmed.append(now))
    for tenth in range(seconds * 10):
        now = tenth / 10
        if busy(now):
            spare.worked_at = now
        if now >= spare.look_at:
            spare.look(now)
    return trimmed


def test_few_turns_look() -> None:
    spare = MallocTrim(lambda: None)
    spare.look(100.0)
    assert spare.look_at > 100.0 + IDLE / 10


def test_memory_is_given_back_once_soon_after_each_work() -> None:
    times = trims(lambda second: 5 <= second < 6 or 300 <= second < 301, 400)
    assert times == pytest.approx([6 + IDLE, 301 + IDLE], abs=IDLE / 3)


def test_short_pauses_between_works_give_nothing_back() -> None:
    assert not trims(lambda second: second % (IDLE / 2) < 0.2, int(EVERY) - 1)


def test_memory_is_given_back_now_and_then_within_long_work() -> None:
    assert trims(lambda _: True, int(2.5 * EVERY)) == pytest.approx([EVERY, 2 * EVERY], abs=IDLE)


def test_a_worker_without_work_gives_nothing_back() -> None:
    assert not trims(lambda _: False, int(3 * EVERY))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries have no malloc_trim")
def test_holes_between_things_that_live_on_are_given_back() -> None:
    asked = """
from pathlib import Path
from service.worker.malloc_trim import of_this_system
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
pieces = [bytes([1]) * 100_000 for _ in range(1000)]
lasting = pieces[::10]
del pieces
before = resident()
of_this_system()()
print(before - resident())
"""
    ran = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, check=True)
    assert int(ran.stdout) > 50_000_000
