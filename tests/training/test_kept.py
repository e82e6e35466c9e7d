"""Stages are made once for the same numbers."""

from pathlib import Path

import pytest
import torch

from pandagpt_core.training.kept import kept


def test_a_stage_is_made_once_and_read_back(tmp_path: Path) -> None:
    made = kept(tmp_path, "space", (1, 2.0), lambda: {"w": torch.arange(3)})
    again = kept(tmp_path, "space", (1, 2.0), lambda: {"w": torch.zeros(3)})
    assert torch.equal(again["w"], made["w"])


def test_other_numbers_and_other_stages_are_made_anew(tmp_path: Path) -> None:
    assert kept(tmp_path, "space", 1, lambda: "a") == "a"
    assert kept(tmp_path, "space", 2, lambda: "b") == "b"
    assert kept(tmp_path, "tower", 1, lambda: "c") == "c"


def test_a_stage_that_failed_leaves_nothing_behind(tmp_path: Path) -> None:
    class Unpicklable:
        def __reduce__(self) -> tuple[object, ...]:
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        kept(tmp_path, "space", 1, Unpicklable)
    assert kept(tmp_path, "space", 1, lambda: 7) == 7
