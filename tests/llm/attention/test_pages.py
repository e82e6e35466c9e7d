"""The cache's memory: zeros that take none before they are written, and none after they were given back."""

import mmap
import re
import sys
from pathlib import Path

import pytest
import torch

from pandagpt_core.llm.attention.pages import give_back, zeros

CPU = torch.device("cpu")
PAGE = mmap.PAGESIZE // 4  # float32 numbers of a page
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone gives pages back as zeros")
ROWS, WIDTH = 64, 1 << 19  # rows 2 MiB apart, in float32


def resident_kib() -> int:
    found = re.search(r"^RssAnon:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found
    return int(found[1])


@on_linux
def test_a_token_in_every_row_takes_pages_and_not_rows() -> None:
    held = zeros((ROWS, WIDTH), torch.float32, CPU)
    before = resident_kib()
    held[:, :64] = 1.0
    grown = resident_kib() - before
    assert grown < ROWS * WIDTH * 4 / 1024 / 8, "large pages were taken"
    assert held.sum() == ROWS * 64


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_zeros_are_zero_and_of_their_type(dtype: torch.dtype) -> None:
    held = zeros((3, 5), dtype, CPU)
    assert held.dtype == dtype
    assert held.shape == (3, 5)
    assert not held.any()
    assert zeros((0, 5), dtype, CPU).shape == (0, 5)


@on_linux
def test_what_is_given_back_takes_no_memory_and_is_zero_again() -> None:
    held = zeros((ROWS, WIDTH), torch.float32, CPU)
    held.fill_(1.0)
    before = resident_kib()
    give_back(held[: ROWS // 2])
    fallen = before - resident_kib()
    assert fallen > ROWS // 2 * WIDTH * 4 / 1024 * 0.9
    assert not held[: ROWS // 2].any()
    assert bool((held[ROWS // 2 :] == 1.0).all())


@on_linux
def test_numbers_beside_the_whole_pages_stay() -> None:
    held = zeros((4 * PAGE,), torch.float32, CPU)
    held.fill_(1.0)
    give_back(held[PAGE // 2 : 2 * PAGE + PAGE // 2])
    assert held.view(4, PAGE).sum(dim=1).tolist() == [PAGE, 0, PAGE, PAGE]
    give_back(held[2 * PAGE : 2 * PAGE + PAGE // 2])  # holds no whole page
    assert held[2 * PAGE :].sum() == 2 * PAGE
