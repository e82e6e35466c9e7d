"""A published difference added to its base gives the very model that it is a difference of."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pandagpt_core.convert.delta import apply_delta
from pandagpt_core.errors import CheckpointError, KeyMismatch
from pandagpt_core.llm.weights import read_config
from tests.convert.deltas import as_delta


@pytest.fixture
def vicuna(golden: Path) -> Path:
    return golden / "pandagpt-tiny" / "vicuna_tiny"


def test_base_and_delta_are_the_model_bit_for_bit(vicuna: Path, tmp_path: Path) -> None:
    as_delta(vicuna, tmp_path / "base", tmp_path / "delta")
    seen: list[tuple[int, int]] = []
    apply_delta(tmp_path / "base", tmp_path / "delta", tmp_path / "sum", lambda *progress: seen.append(progress))
    made: dict[str, torch.Tensor] = {}
    for shard in sorted((tmp_path / "sum").glob("*.safetensors")):
        made |= load_file(shard)
    held = load_file(vicuna / "model.safetensors")
    wanted = {key: value for key, value in held.items() if not key.endswith("inv_freq")}
    assert made.keys() == wanted.keys()
    assert [key for key, value in wanted.items() if not torch.equal(value, made[key])] == []
    assert read_config(tmp_path / "sum").vocab == read_config(vicuna).vocab
    assert seen[-1][0] == seen[-1][1] > 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["base", "delta", "sum"]


def test_a_base_that_lacks_a_key_is_refused_and_leaves_nothing(vicuna: Path, tmp_path: Path) -> None:
    as_delta(vicuna, tmp_path / "base", tmp_path / "delta")
    state = load_file(tmp_path / "base" / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, tmp_path / "base" / "model.safetensors")
    with pytest.raises(KeyMismatch, match=r"layers\.1\.mlp\.up_proj"):
        apply_delta(tmp_path / "base", tmp_path / "delta", tmp_path / "sum")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["base", "delta"]


def test_a_whole_model_in_the_place_of_a_delta_is_refused(vicuna: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="this is a model, not a delta"):
        apply_delta(vicuna, vicuna, tmp_path / "sum")
