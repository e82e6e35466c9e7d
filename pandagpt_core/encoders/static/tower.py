"""Description of a tower whose clips all have one shape, and torch's way to compute it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Outputs = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class StaticTower:
    """A module of an encoder, [N, *shape] in and one tensor [N, ...] or a tuple of them out.

    clip: one made clip [1, *shape]. put: sets another module in its place. most: clips that ever come together.
    """

    name: str
    module: nn.Module
    clip: Tensor
    put: Callable[[nn.Module], None]
    most: int = 32


class ChunkedTower(nn.Module):
    """A module that is given at most `batch` clips at once: more are slower together than one by one on some CPUs."""

    def __init__(self, inner: nn.Module, batch: int) -> None:
        super().__init__()
        self.inner, self.batch = inner, batch

    def forward(self, clips: Tensor) -> Outputs:
        return joined_outputs([self.inner(chunk) for chunk in torch.split(clips, self.batch)])


def joined_outputs(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of neighbouring clips as those of one batch."""
    if len(parts) == 1:
        return parts[0]
    each = list(zip(*map(as_tuple, parts), strict=True))
    whole = tuple(torch.cat(some) for some in each)
    return whole if isinstance(parts[0], tuple) else whole[0]


def as_tuple(outputs: Outputs) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def apart(one: Outputs, other: Outputs) -> float:
    """1 - the smallest cosine between two batches' outputs, each clip's output as one vector. Not a number is kept."""
    pairs = zip(as_tuple(one), as_tuple(other), strict=True)
    cosines = [torch.cosine_similarity(a.flatten(1).double(), b.flatten(1).double()) for a, b in pairs]
    return float((1 - torch.cat(cosines)).max())
