"""The modules that a warm decoding child has loaded: memory that every child holds for as long as it lives."""

import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT

LARGE = {"scipy", "trimesh", "networkx", "laspy", "pyarrow", "h5py", "requests", "tkinter", "torch", "asyncio"}
WARM = """
import sys
from pandagpt_core.media import Limits
from service.gateway.decoding import child, warmup
sys.stdout = sys.stderr  # Pillow prints a report when all of its modules are imported
warmup.run(Limits(), libraries={libraries})
print(*sorted(name for name in sys.modules if "." not in name), file=sys.__stdout__)
"""


def loaded(libraries: bool) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", WARM.format(libraries=libraries)], cwd=ROOT, capture_output=True, check=True, text=True
    )
    return set(ran.stdout.split())


def test_a_usual_child_holds_none_of_the_large_libraries() -> None:
    found = loaded(libraries=False)
    assert {"PIL", "av", "numpy", "ftfy"} <= found
    assert not LARGE & found


def test_a_child_of_the_second_pool_holds_those_of_meshes_and_scans() -> None:
    assert {"trimesh", "laspy", "PIL", "av"} <= loaded(libraries=True)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries have no malloc_trim")
def test_a_child_gives_back_what_warming_up_left_unused() -> None:
    asked = """
import sys
from pathlib import Path
from service.gateway.decoding.sandbox.libc import malloc_trim
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
pieces = [bytes([1]) * 100_000 for _ in range(1000)]
lasting = pieces[::10]
del pieces
before = resident()
malloc_trim()
print(before - resident())
"""
    ran = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, check=True)
    assert int(ran.stdout) > 50_000_000
