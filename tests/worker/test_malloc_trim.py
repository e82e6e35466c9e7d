"""Unused memory of the allocator goes back to the system, now and then."""

import platform
import subprocess
import sys

import pytest

from service.worker.malloc_trim import EVERY, MallocTrim
from tests.conftest import ROOT


def test_memory_is_given_back_once_in_a_while_and_not_at_every_turn() -> None:
    now, trimmed = [0.0], []
    spare = MallocTrim(lambda: trimmed.append(now[0]), lambda: now[0])
    for second in range(int(2 * EVERY) + 2):
        now[0] = float(second)
        for _ in range(2):
            if now[0] >= spare.due:
                spare.trim()
    assert trimmed == [EVERY, 2 * EVERY]


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
