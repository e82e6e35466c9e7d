"""Load a LLaMA from a Hugging Face folder or a GGUF file, with a strict account of its keys."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from pandagpt_core.empty_weights import init_empty_weights
from pandagpt_core.errors import CheckpointError, KeyMismatch
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.special_tokens import parse_json, read_json

INDEX = "model.safetensors.index.json"
# Buffers that old transformers versions saved; they follow from the config and are not read.
RECOMPUTED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")


def load_llama(path: Path) -> Llama:
    """The model as stored, on the CPU, neither cast nor fused: merge adapters into it, then call `serve`.

    path: a folder with config.json and safetensors, or a .gguf file. Raises CheckpointError; KeyMismatch lists
    every key that is missing, left over or misshapen.
    """
    if path.is_file():
        from pandagpt_core.llm.gguf import read_weights  # takes time to import

        config, weights = read_weights(path)
    else:
        config, weights = read_config(path), dict(read_shards(path))
    return assemble(config, weights)


def read_config(folder: Path) -> LlamaConfig:
    if not (folder / "config.json").is_file():
        raise CheckpointError("the language model's folder has no config.json")
    return LlamaConfig.from_hf(read_json(folder / "config.json"))


def read_shards(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a folder."""
    for file in shard_files(folder):
        yield from load_file(file).items()


def shard_files(folder: Path) -> list[Path]:
    """model.safetensors, or the shards that its index names."""
    names = {"model.safetensors"}
    if (folder / INDEX).is_file():
        names = set(parse_json(folder / INDEX)["weight_map"].values())
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise CheckpointError(f"the language model's folder has no {Path(name).name}")
    return [folder / name for name in sorted(names)]


def assemble(config: LlamaConfig, weights: Mapping[str, Tensor]) -> Llama:
    """A model of exactly these weights. Raises KeyMismatch."""
    weights = {name: tensor for name, tensor in weights.items() if not RECOMPUTED.fullmatch(name)}
    with init_empty_weights():
        llama = Llama(config)
    expected = {name: tuple(tensor.shape) for name, tensor in llama.state_dict().items()}
    if config.tied:
        weights["lm_head.weight"] = weights.get("lm_head.weight", weights.get("model.embed_tokens.weight", EMPTY))
    check_keys(expected, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    llama.load_state_dict(weights, assign=True)
    if config.tied:
        llama.tie()
    return llama


EMPTY = torch.empty(0)


def check_keys(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    missing, left_over = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    misshapen = {
        name: (found[name], shape) for name, shape in expected.items() if name in found and found[name] != shape
    }
    if missing or left_over or misshapen:
        raise KeyMismatch("language model", missing=missing, left_over=left_over, misshapen=misshapen)
