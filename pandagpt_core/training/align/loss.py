"""InfoNCE between a tower's embeddings and frozen ones (van den Oord et al. 2018), both ways, as ImageBind trains."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_TEMPERATURE = 0.01  # CLIP's bound: a logit is at most a hundred times a cosine


class Contrast(nn.Module):
    """The loss with its temperature, learned or not."""

    def __init__(self, temperature: float, learned: bool) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learned)

    @property
    def temperature(self) -> float:
        return float(1 / self._scale().detach())

    def forward(self, found: Tensor, wanted: Tensor, groups: Tensor) -> Tensor:
        """found, wanted: [N, E], of any length; `groups` [N] names the picture of each pair.

        Of several rows a medium, [N, k, E] in place of `found`, the nearest counts.

        Pairs of one picture are no wrong answers to one another: they share its place among the right ones.
        """
        logits = self._scale() * F.normalize(found, dim=-1) @ F.normalize(wanted, dim=-1).T
        logits = logits.amax(dim=1) if found.ndim == 3 else logits
        alike = (groups[:, None] == groups[None, :]).float()
        right = alike / alike.sum(dim=1, keepdim=True)
        return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2

    def _scale(self) -> Tensor:
        return self.log_scale.clamp(max=-math.log(LEAST_TEMPERATURE)).exp()
