"""Weights that are seldom read leave the memory, and compute as before."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from pandagpt_core.encoders.mapped import ROOM, lay_apart, lay_tables_apart

linux = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system lists no mappings")


def resident(size: int) -> list[int]:
    """KiB in memory of each mapping of a deleted file that has this many bytes."""
    kib = -(-size // 4096) * 4
    parts = Path("/proc/self/smaps").read_text(encoding="ascii").split("VmFlags:")
    figures = [dict(re.findall(r"^(\w+): +(\d+) kB$", part, re.MULTILINE)) for part in parts if "(deleted)" in part]
    return [int(each["Rss"]) for each in figures if each["Size"] == str(kib)]


@linux
def test_the_weights_of_a_tower_that_computes_no_more_leave_the_memory() -> None:
    module = nn.Linear(1024, 3000).requires_grad_(False)
    before = module(torch.ones(1, 1024))
    lay_apart(module)
    assert resident(1024 * 3000 * 4 + 3000 * 4 + ROOM) == [0]
    assert torch.equal(module(torch.ones(1, 1024)), before)


@linux
def test_of_a_table_only_what_is_read_is_in_memory() -> None:
    module = nn.Sequential(nn.Embedding(20_011, 64), nn.Linear(64, 3)).requires_grad_(False)
    ids = torch.tensor([5, 20_010])
    before, linear = module(ids), module[1].weight.data_ptr()
    lay_tables_apart(module)
    assert torch.equal(module(ids), before)
    (kib,) = resident(20_011 * 64 * 4 + ROOM)
    assert kib < 20_011 * 64 * 4 / 1024 / 4
    assert module[1].weight.data_ptr() == linear
