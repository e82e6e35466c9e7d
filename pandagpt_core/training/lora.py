"""LoRA's layers around a frozen language model (Hu et al. 2021), and the schedules of learning rates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional as F

from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.quant.linear import Linear


@dataclass(frozen=True, slots=True)
class LoraConfig:
    r: int = 16
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    lr: float = 5e-4
    projection_lr: float = 2e-4
    warmup: float = 0.05
    clip: float = 1.0
    bf16: bool = True


class LoraLinear(nn.Module):
    """y = W x + alpha / r B A x (Hu et al. 2021), W frozen; B starts at zero."""

    def __init__(self, base: Linear, config: LoraConfig) -> None:
        super().__init__()
        self.base = base
        self.a = nn.Parameter(torch.randn(config.r, base.in_features) / base.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, config.r))
        self.scale = config.alpha / config.r
        self.dropout = config.dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low = F.linear(F.dropout(x, self.dropout, self.training), self.a)
        out: torch.Tensor = self.base(x) + self.scale * F.linear(low, self.b)
        return out


def add_lora(llm: Llama, config: LoraConfig) -> dict[str, LoraLinear]:
    """Wrap every layer's targets in place; everything else is frozen. Names are the layers' in the model."""
    llm.requires_grad_(False)
    added: dict[str, LoraLinear] = {}
    for name, module in list(llm.named_modules()):
        parent, _, leaf = name.rpartition(".")
        if leaf in config.targets and isinstance(module, Linear):
            added[name] = LoraLinear(module, config)
            setattr(llm.get_submodule(parent), leaf, added[name])
    return added


@dataclass(frozen=True, slots=True)
class LinearWarmupDecay:
    """Learning rate factor: linear up over the warm-up share of steps, then linear down to `floor`."""

    steps: int
    warmup: float
    floor: float = 0.0

    def __call__(self, step: int) -> float:
        rise = max(1, int(self.steps * self.warmup))
        left = (self.steps - step) / max(1, self.steps - rise)
        return min((step + 1) / rise, self.floor + (1 - self.floor) * left)


@dataclass(frozen=True, slots=True)
class CosineWarmupDecay:
    """Learning rate factor: linear up over the warm-up share of steps, then half a cosine down to `floor`."""

    steps: int
    warmup: float
    floor: float = 0.0

    def __call__(self, step: int) -> float:
        rise = max(1, int(self.steps * self.warmup))
        if step < rise:
            return (step + 1) / rise
        done = (step - rise) / max(1, self.steps - rise)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


SCHEDULES: Mapping[str, type[LinearWarmupDecay] | type[CosineWarmupDecay]] = MappingProxyType(
    {"linear": LinearWarmupDecay, "cosine": CosineWarmupDecay}
)
