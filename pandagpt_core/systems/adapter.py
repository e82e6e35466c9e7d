"""The adapter of a model folder: the projection, and LoRA pairs that are merged into the language model."""

from pathlib import Path

import torch

from pandagpt_core.checkpoints import (
    ADAPTER,
    ProjectedFolder,
    account,
    adapter_shapes,
    module_shapes,
    read_shapes,
    read_tensors,
)
from pandagpt_core.errors import CheckpointError
from pandagpt_core.fusion import Projection, PrototypeRetrieval
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.lora import merge_lora


def load_adapter(path: Path, folder: ProjectedFolder, llm: Llama, encoder_dim: int, device: str) -> Projection:
    """Merge the LoRA of `path` into `llm`, which must not be served yet, and give the projection, float32.

    Every key is accounted for. Raises KeyMismatch, and CheckpointError where the widths do not meet.
    """
    projection = folder.projection
    if (projection.in_dim, projection.out_dim) != (encoder_dim, llm.config.width):
        raise CheckpointError(
            f"the projection is from {projection.in_dim} to {projection.out_dim}, "
            f"the encoder gives {encoder_dim} and the language model reads {llm.config.width}"
        )
    expected = adapter_shapes(projection, folder.lora, module_shapes(llm))
    account(ADAPTER, expected, read_shapes(path / ADAPTER))
    tensors = dict(read_tensors(path / ADAPTER, dtype=torch.float32))
    weight, bias = tensors.pop("projection.weight"), tensors.pop("projection.bias")
    recall = None
    if projection.recall is not None:
        recall = PrototypeRetrieval(tensors.pop("projection.recall").to(device), projection.recall.sharpness)
    if folder.lora is not None and not folder.lora.merged:
        merge_lora(llm, _pairs(tensors), folder.lora.scale)
    return Projection(weight.to(device), bias.to(device), recall)


def _pairs(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """`<layer>.lora_A.weight` and `.lora_B.weight` as one entry a layer."""
    layers = sorted({key.rsplit(".lora_", 1)[0] for key in tensors})
    return {layer: (tensors[f"{layer}.lora_A.weight"], tensors[f"{layer}.lora_B.weight"]) for layer in layers}
