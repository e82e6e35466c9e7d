"""LoRA that a file of a tower holds beside its weights, added to them on the way (Hu et al. 2022).

Its names are peft's, which wrapped the tower's layers: `encoder.base_model.model.` for `encoder.`, and beside
`q_proj.weight` (or `q_proj.base_layer.weight`, as peft saves since 0.6) `q_proj.lora_A.default.weight` and `.lora_B.`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from pandagpt_core.checkpoints import Shape, account
from pandagpt_core.convert.parts import Change, Part, opened

_WRAPPED = ".base_model.model."
_LORA = re.compile(r".+\.lora_[AB]\.default\.weight")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True, slots=True)
class LoraSize:
    """`attention` names the layers' part that was tuned, each of its four projections by matrices of rank `r`."""

    r: int
    alpha: float
    attention: str

    @property
    def scale(self) -> float:
        return self.alpha / self.r

    def shapes(self, layers: str, blocks: int, width: int) -> dict[str, Shape]:
        """Every matrix by its name in `layers`, as "vision_model.encoder.layers"."""
        sides = {"A": (self.r, width), "B": (width, self.r)}
        return {
            f"{layers}.{block}.{self.attention}.{name}.lora_{side}.default.weight": shape
            for block in range(blocks)
            for name in PROJECTIONS
            for side, shape in sides.items()
        }


def plain_name(key: str) -> str:
    """The name that the key has where nothing was wrapped."""
    return key.replace(_WRAPPED, ".").replace(".base_layer.", ".")


def is_lora(key: str) -> bool:
    """Of a plain name."""
    return _LORA.fullmatch(key) is not None


def merged(part: Part, size: LoraSize, expected: Mapping[str, Shape], prefix: str) -> Part:
    """The part with its file's LoRA added to the weights that it tuned. `prefix` stands before the part's new names.

    Raises KeyMismatch unless the file's matrices are those of `expected`, by `plain_name`.
    """
    with opened(part.source) as (layout, fetch):
        found = {plain_name(key): key for key in layout if is_lora(plain_name(key))}
        account(_what(part.source), expected, {name: tuple(layout[key].shape) for name, key in found.items()})
        changes: dict[str, Change] = {}
        for layer in dict.fromkeys(name.partition(".lora_")[0] for name in found):
            a, b = (fetch(found[f"{layer}.lora_{side}.default.weight"]).float() for side in "AB")
            changes[f"{prefix}{layer}.weight"] = partial(_add, size.scale * b, a)
    return replace(part, changes={**part.changes, **changes})


def _add(b: torch.Tensor, a: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """In float32, then the weight's own type. Of a shape alone nothing changes."""
    return weight if weight.is_meta else (weight.float() + b @ a).to(weight.dtype)


def _what(source: Path) -> str:
    return f"{source.parent.name}/{source.name}'s LoRA"
