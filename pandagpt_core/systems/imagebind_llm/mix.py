"""Several media as one feature of the shared space (ImageBind-LLM, section 3.4)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

SOME = 1e-6  # added to the sum of the weights, as in the released code


def mixed(embeddings: Tensor, weights: Sequence[float]) -> Tensor:
    """[M, E] embeddings and M weights to one [E] feature: directions alone count, by their share of the weights.

    A medium's length (a tower's scale, a mean over clips) is divided out first. The sum is not normalised again, so
    media that point apart from one another give a shorter feature.
    """
    given = torch.tensor(weights, dtype=torch.float32, device=embeddings.device)
    shares = given / (given.sum() + SOME)
    return (shares[:, None] * normalize(embeddings.float(), dim=-1)).sum(dim=0)
