"""A published difference added to its base gives the very model that it is a difference of."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pandagpt_core.convert.delta import apply_delta
from pandagpt_core.errors import CheckpointError, KeyMismatch
from pandagpt_core.llm.weights import read_config

VOCABULARY = ("model.embed_tokens.weight", "lm_head.weight")
TEXTS = ("config.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")


def as_delta(vicuna: Path, base: Path, delta: Path) -> None:
    """Write a base, one row of vocabulary smaller, and the delta to `vicuna` in two pickled shards.

    The base is the model rounded to bfloat16: the difference is then exact in float32, and so is the sum.
    """
    state = load_file(vicuna / "model.safetensors")
    rows = {key: value.shape[0] - (key in VOCABULARY) if value.ndim else 0 for key, value in state.items()}
    rounded = {key: value[: rows[key]].bfloat16().float() for key, value in state.items()}
    difference = {key: value.clone() for key, value in state.items()}
    for key, value in rounded.items():
        difference[key][: rows[key]] -= value
    for folder in (base, delta):
        folder.mkdir(parents=True)
        for name in TEXTS:
            shutil.copyfile(vicuna / name, folder / name)
    save_file(rounded, base / "model.safetensors")
    _in_shards(difference, delta)


def _in_shards(state: dict[str, torch.Tensor], folder: Path) -> None:
    weight_map = {key: f"pytorch_model-0000{1 + index % 2}-of-00002.bin" for index, key in enumerate(sorted(state))}
    for name in set(weight_map.values()):
        shard = {key: value for key, value in state.items() if weight_map[key] == name}
        # Files of the time hold position buffers, which are computed anew.
        torch.save(shard | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}, folder / name)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))


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
