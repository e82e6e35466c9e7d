"""Stages are made once for the same numbers."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from recipes.panda_mini.stage_cache import kept


def made(number: int) -> Mapping[str, Tensor]:
    return {"w": torch.full((3,), number)}


def test_a_stage_is_made_once_and_read_back(tmp_path: Path) -> None:
    first = kept(tmp_path, "space", (1, 2.0), lambda: made(5))
    again = kept(tmp_path, "space", (1, 2.0), lambda: made(6))
    assert first["w"].tolist() == again["w"].tolist() == [5, 5, 5]


def test_other_numbers_and_other_stages_are_made_anew(tmp_path: Path) -> None:
    assert kept(tmp_path, "space", 1, lambda: made(1))["w"][0] == 1
    assert kept(tmp_path, "space", 2, lambda: made(2))["w"][0] == 2
    assert kept(tmp_path, "tower", 1, lambda: made(3))["w"][0] == 3


def test_parts_that_share_memory_are_kept_each(tmp_path: Path) -> None:
    whole = torch.arange(6.0).view(2, 3)
    found = kept(tmp_path, "space", 1, lambda: {"whole": whole, "turned": whole.T})
    assert torch.equal(found["turned"], whole.T)


def test_a_stage_that_failed_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted() -> Mapping[str, Tensor]:
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        kept(tmp_path, "space", 1, interrupted)
    assert kept(tmp_path, "space", 1, lambda: made(7))["w"][0] == 7
