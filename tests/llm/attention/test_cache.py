"""The cache's memory: zeros that take none before they are written."""

import re
from pathlib import Path

import pytest
import torch

from pandagpt_core.llm.attention.cache import zeros

CPU = torch.device("cpu")
ROWS, WIDTH = 64, 1 << 19  # rows 2 MiB apart, in float32


def resident_kib() -> int:
    found = re.search(r"^RssAnon:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found
    return int(found[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
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
