"""The interface of an encoder of a shared space, and the one embedding of an item of several clips."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch

from pandagpt_core.encoders.static.tower import StaticTower
from pandagpt_core.types import Modality


class Encoder(Protocol):
    """A set of towers into one space of width `dim`. `recipes` names the preprocessing each tower wants."""

    @property
    def dim(self) -> int: ...

    @property
    def recipes(self) -> Mapping[Modality, str]: ...

    def encode(self, modality: Modality, clips: torch.Tensor) -> torch.Tensor:
        """[N, ...] clips of one modality in, [N, dim] float32 postprocessed embeddings out."""
        ...


class PerceivingEncoder(Encoder, Protocol):
    """One that perceives more of an item than its embedding (`pandagpt_core.perception.rows`)."""

    def rows(self, modality: Modality, items: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """[n, dim] for each item, the embedding first."""
        ...


def perceives(encoder: Encoder) -> bool:
    """Whether an item is kept as the rows of a `PerceivingEncoder`, for all systems that read them.

    Systems over one encoder share the rows of a medium by the encoder's digest, so all must encode alike.
    """
    return bool(getattr(encoder, "perceives", False))


@dataclass(frozen=True, slots=True)
class TowerPart:
    """Facts that decide a modality's rows: the weights whose names `holds` accepts, and `facts` that no shape shows."""

    holds: Callable[[str], bool]
    facts: Mapping[str, Any]


class PartedEncoder(Encoder, Protocol):
    """An encoder that names the part of it that a modality passes."""

    def part(self, modality: Modality) -> TowerPart: ...


def tower_parts(encoder: Encoder, modalities: Iterable[Modality]) -> dict[Modality, TowerPart]:
    """By modality; empty for an encoder of one tower, which is its own part."""
    if not hasattr(encoder, "part"):
        return {}
    return {modality: cast(PartedEncoder, encoder).part(modality) for modality in modalities}


class StaticEncoder(Encoder, Protocol):
    """An encoder with towers whose clips all have one shape (`encoders.static`)."""

    def static_towers(self) -> Sequence[StaticTower]: ...


@dataclass(frozen=True, slots=True)
class TowerTokens:
    """Of N clips the embeddings, [N, dim] float32, and the tokens that each was pooled from, [N, T, W].

    keep: [N, T], False at tokens that stand for nothing (behind a text's end); None where all count.
    """

    vectors: torch.Tensor
    tokens: torch.Tensor
    keep: torch.Tensor | None = None


class TokenEncoder(Encoder, Protocol):
    """An encoder that also gives a tower's tokens before their pooling, for a resampler (`encoders.resampler`)."""

    @property
    def token_widths(self) -> Mapping[str, int]:
        """W of each tower that it was built with, by the tower's name."""
        ...

    def tower_of(self, modality: Modality) -> str:
        """The tower that a modality passes. Raises UnsupportedModality."""
        ...

    def with_tokens(self, modality: Modality, clips: torch.Tensor) -> TowerTokens:
        """As `encode`, with the tokens."""
        ...


class RowEncoder(Encoder, Protocol):
    """An encoder whose `encode` gives [N, rows, dim]: a picture has many rows of a prompt, each from its own part."""

    @property
    def rows(self) -> int: ...


def encode_items(encoder: Encoder, modality: Modality, items: Sequence[np.ndarray], device: str) -> torch.Tensor:
    """Encode items whose first axis is the clip axis: [S_i, ...] each in, [len(items), dim] out.

    Clips of all items are flattened into one batch; an item's embedding is the mean over its clips, taken after
    normalisation and scaling and not normalised again (ImageBind, section 3 and released code).
    """
    clips = torch.from_numpy(np.concatenate(items)).to(device)
    embedded = encoder.encode(modality, clips)  # [sum S_i, dim]
    return torch.stack([part.mean(dim=0) for part in torch.split(embedded, [len(item) for item in items])])
