"""The account of keys: nothing missing, nothing left over, every shape as expected; and maps from old names to new."""

import re
from collections.abc import Iterable, Mapping, Sequence

from pandagpt_core.checkpoints.pandagpt import LoraSpec, ProjectionSpec
from pandagpt_core.errors import KeyMismatch

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
KeyMap = Sequence[tuple[str, str]]

# Keys from PandaGPT's trainer (peft 0.3.0 around a Hugging Face LLaMA), in the order that the rules apply.
PANDAGPT_DELTA: KeyMap = (
    (r"^llama_proj\.", "projection."),
    (r"^llama_model\.base_model\.model\.(.*)\.lora_([AB])\.default\.weight$", r"\1.lora_\2.weight"),
)

# Keys from MiniGPT-v2's runner (peft 0.2.0, whose keys name no adapter).
MINIGPT_V2_CHECKPOINT: KeyMap = (
    (r"^llama_proj\.", "projection."),
    (r"^llama_model\.base_model\.model\.(.*)\.lora_([AB])\.weight$", r"\1.lora_\2.weight"),
)


def account(what: str, expected: Shapes, found: Shapes) -> None:
    """Raise KeyMismatch with every key of `found` that is not as `expected`; `what` names the file in the message."""
    missing = sorted(expected.keys() - found.keys())
    left_over = sorted(found.keys() - expected.keys())
    misshapen = {key: (found[key], shape) for key, shape in expected.items() if key in found and found[key] != shape}
    if missing or left_over or misshapen:
        raise KeyMismatch(what, missing=missing, left_over=left_over, misshapen=misshapen)


def renamed(keys: Iterable[str], key_map: KeyMap) -> dict[str, str]:
    """Each key with its new name by the first rule that fits; a key without a rule keeps its own."""
    return {key: _rename(key, key_map) for key in keys}


def _rename(key: str, key_map: KeyMap) -> str:
    for pattern, replacement in key_map:
        new, hits = re.subn(pattern, replacement, key)
        if hits:
            return new
    return key


def adapter_shapes(projection: ProjectionSpec, lora: LoraSpec | None, llm: Shapes) -> dict[str, Shape]:
    """Every key of adapter.safetensors, given the language model's weights by their Hugging Face names.

    A merged LoRA has no keys of its own.
    """
    shapes: dict[str, Shape] = {
        "projection.weight": (projection.out_dim, projection.in_dim),
        "projection.bias": (projection.out_dim,),
    }
    if projection.recall is not None:
        shapes["projection.recall"] = (projection.recall.directions, projection.in_dim)
    return shapes | ({} if lora is None or lora.merged else lora_shapes(lora, llm))


def lora_shapes(lora: LoraSpec, llm: Shapes) -> dict[str, Shape]:
    """LoRA pairs beside the weights that they change. A target is a linear layer's last name, wherever it is."""
    shapes: dict[str, Shape] = {}
    for key, shape in llm.items():
        linear = key.removesuffix(".weight")
        if linear != key and linear.rpartition(".")[2] in lora.targets:
            shapes[f"{linear}.lora_A.weight"] = (lora.r, shape[1])
            shapes[f"{linear}.lora_B.weight"] = (shape[0], lora.r)
    return shapes
