"""ImageBind-LLM's adapter before any training: gates and updates are zero, so the language model is as it was."""

import math
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

from pandagpt_core.checkpoints import LoraSpec, Shape, lora_shapes
from pandagpt_core.checkpoints.imagebind_llm import ADAPTED, GATE, BindSpec, bind_shapes, tuned_shapes
from pandagpt_core.convert.llm import expected_shapes
from pandagpt_core.convert.parts import FetchTensor
from pandagpt_core.llm.config import LlamaConfig

RANK = 16  # of the published adapter's LoRA, which has no scale
HIDDEN = 4  # times the language model's width: the bind network's blocks


def fresh_specs(config: LlamaConfig, features: int) -> tuple[BindSpec, LoraSpec]:
    """The published sizes in proportion, in every layer."""
    bind = BindSpec(features=features, hidden=HIDDEN * config.width, layers=config.layers)
    return bind, LoraSpec(r=RANK, alpha=float(RANK), targets=ADAPTED)


def fresh_shapes(config: LlamaConfig, bind: BindSpec, lora: LoraSpec) -> dict[str, Shape]:
    """Every key of adapter.safetensors."""
    return bind_shapes(bind, config) | tuned_shapes(config) | lora_shapes(lora, expected_shapes(config))


def fresh_fetch(shapes: Mapping[str, Shape], base_norm: FetchTensor) -> FetchTensor:
    """One tensor at a time, the same for a key at every call; the language model's norms by `base_norm`."""

    def fetch(key: str) -> Tensor:
        shape = shapes[key]
        if key.endswith((GATE, ".bias", ".lora_B.weight")):
            return torch.zeros(shape)
        if len(shape) == 1:
            return torch.ones(shape) if key.startswith("bind.") else base_norm(key).float()
        random = torch.Generator().manual_seed(zlib.crc32(key.encode()))
        if key == "prefix_query.weight":
            return torch.randn(shape, generator=random)
        bound = 1 / math.sqrt(shape[1])
        return torch.empty(shape).uniform_(-bound, bound, generator=random)

    return fetch
