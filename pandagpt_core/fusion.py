"""Fusion: the linear layer from the shared space into a language model's, and composition of several media.

PandaGPT (Su et al. 2023, section 3 and released code) projects the embedding of each medium and sums the projected
vectors, so the bias counts once per medium: soft = sum_i w_i (W e_i + b). Weight 1 everywhere is the original. A
weight scales its medium's whole vector, bias included, so weight 0 is the medium left out and weights 1/n a mean.

A small model may recall before it projects: each embedding is replaced by what it is most like (`PrototypeRetrieval`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import linear, normalize

from pandagpt_core.types import MediaUse


@dataclass(frozen=True, slots=True)
class PrototypeRetrieval:
    """Known directions [C, E] of the shared space, and how sharply an embedding chooses among them.

    One look-up in an associative memory (Ramsauer et al. 2020, "Hopfield Networks is All You Need", equation 3):
    softmax(sharpness * P e / |e|) P. It lies between the directions that the embedding is near to, so a language
    model reads what it was trained on whatever the medium; an embedding near to none of them comes out short.
    """

    directions: torch.Tensor
    sharpness: float

    def shares(self, embeddings: torch.Tensor) -> torch.Tensor:
        """[M, E] embeddings in, [M, C] out: how much of each direction, summing to 1."""
        return (self.sharpness * normalize(embeddings, dim=-1) @ self.directions.T).softmax(dim=-1)

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """[M, E] embeddings in, [M, E] mixtures of the known directions out."""
        return self.shares(embeddings) @ self.directions


@dataclass(frozen=True, slots=True)
class Projection:
    """weight [D, E] and bias [D], float32: from the shared space's width E into the language model's width D."""

    weight: torch.Tensor
    bias: torch.Tensor
    recall: PrototypeRetrieval | None = None

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """[M, E] embeddings in, [M, D] soft tokens out, float32."""
        embeddings = embeddings.to(self.weight)
        read = embeddings if self.recall is None else self.recall(embeddings)
        return linear(read, self.weight, self.bias)


def compose(projection: Projection, embeddings: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """[M, E] embeddings and M weights in, one [D] soft token out."""
    share = torch.tensor(weights, dtype=torch.float32, device=projection.weight.device)
    return (share[:, None] * projection(embeddings)).sum(dim=0)


def counted(media: Sequence[MediaUse]) -> list[int]:
    """Indices of the uses that count: of a medium sent again in a later turn only the latest turn's uses.

    Chat clients send the whole conversation, often with the same picture in each turn; the original holds one vector
    for the whole talk. Parts of one turn all count, also equal ones.
    """
    latest: dict[tuple[str, str], int] = {}
    for use in media:
        key = (use.modality, use.digest)
        latest[key] = max(use.turn, latest.get(key, use.turn))
    return [index for index, use in enumerate(media) if use.turn == latest[(use.modality, use.digest)]]
