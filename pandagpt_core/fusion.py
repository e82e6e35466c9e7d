"""Fusion: the linear layer from the shared space into a language model's, and composition of several media.

PandaGPT (Su et al. 2023, section 3 and released code) projects the embedding of each medium and sums the projected
vectors, so the bias counts once per medium: soft = sum_i w_i (W e_i + b). Weight 1 everywhere is the original. A
weight scales its medium's whole vector, bias included, so weight 0 is the medium left out and weights 1/n a mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import linear

from pandagpt_core.types import MediaUse


@dataclass(frozen=True, slots=True)
class Projection:
    """weight [D, E] and bias [D], float32: from the shared space's width E into the language model's width D."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """[M, E] embeddings in, [M, D] soft tokens out, float32."""
        return linear(embeddings.to(self.weight), self.weight, self.bias)


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
