"""A LLaMA's weights as Vicuna published its own: as differences from a base."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

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
