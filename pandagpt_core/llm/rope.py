"""Rotary positions (Su et al. 2021): the angle of each pair of a head's components at each position."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pandagpt_core.errors import CheckpointError

DEFAULT_THETA = 10_000.0
LLAMA3 = "llama3"


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Llama 3.1's stretching of the positions (Grattafiori et al. 2024, section 3.4.2, and its published config).

    Pairs that turn less than `low` times over the `original` context turn `factor` times slower; those that turn more
    than `high` times stay; between the two the change is linear in the number of turns.
    """

    factor: float
    low: float
    high: float
    original: int

    def __post_init__(self) -> None:
        if not (self.factor >= 1 and self.high > self.low > 0 and self.original > 0):
            raise CheckpointError(
                f"rotary scaling needs a factor of at least 1, 0 < low < high and a positive original context; it has "
                f"factor {self.factor:g}, low {self.low:g}, high {self.high:g}, original {self.original}"
            )

    def __call__(self, frequencies: Tensor) -> Tensor:
        """[d / 2] radians a position, to the same number."""
        turns = self.original * frequencies / (2 * math.pi)
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return kept * frequencies + (1 - kept) * frequencies / self.factor

    def to_hf(self) -> dict[str, Any]:
        """A config.json's `rope_scaling`."""
        return {
            "rope_type": LLAMA3,
            "factor": self.factor,
            "low_freq_factor": self.low,
            "high_freq_factor": self.high,
            "original_max_position_embeddings": self.original,
        }


@dataclass(frozen=True, slots=True)
class Rope:
    """theta: the base of the angles, whose pairs turn theta^(-2i/d) radians a position."""

    theta: float = DEFAULT_THETA
    scaling: RopeScaling | None = None

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "Rope":
        """Newer files keep all in `rope_parameters`, older ones have a `rope_scaling` beside `rope_theta`.

        Raises CheckpointError for a kind of scaling other than Llama 3's.
        """
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind not in ("default", LLAMA3):
            raise CheckpointError(f"rotary scaling {kind!r} is not supported, only 'default' and {LLAMA3!r}")
        theta = float(rope.get("rope_theta", config.get("rope_theta", DEFAULT_THETA)))
        return cls(theta, _scaling(rope) if kind == LLAMA3 else None)

    def frequencies(self, head_dim: int, device: torch.device) -> Tensor:
        """[d / 2] float32 radians a position."""
        steps = torch.arange(0, head_dim, 2, device=device, dtype=torch.float32)
        frequencies: Tensor = 1.0 / self.theta ** (steps / head_dim)
        return frequencies if self.scaling is None else self.scaling(frequencies)


def _scaling(rope: Mapping[str, Any]) -> RopeScaling:
    try:
        return RopeScaling(
            factor=float(rope["factor"]),
            low=float(rope["low_freq_factor"]),
            high=float(rope["high_freq_factor"]),
            original=int(rope["original_max_position_embeddings"]),
        )
    except KeyError as error:
        raise CheckpointError(f"the language model's rotary scaling has no {error.args[0]!r}") from None


def rotary(positions: Tensor, head_dim: int, rope: Rope) -> tuple[Tensor, Tensor]:
    """cos [..., 1, d] and sin [..., 1, d], its first half negative, of the rotary angles at integer positions [...];
    made once a step, so that each layer's rotation is three operations."""
    angles = positions[..., None, None].float() * rope.frequencies(head_dim, positions.device)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn [..., H, d] heads by their angles; component i pairs with i + d/2 (Hugging Face's layout)."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)
