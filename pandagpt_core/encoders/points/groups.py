"""Groups of a point cloud: centres far from one another, and the points that are nearest to each."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Groups:
    """centres [B, G, 3]; neighbours [B, G, K, 3], relative to their centre."""

    centres: Tensor
    neighbours: Tensor


def grouped(clouds: Tensor, groups: int, neighbours: int, starts: Tensor | None = None) -> Groups:
    """[B, N, 3] clouds of at least `groups` and `neighbours` points. starts: [B] the first centre's row, else 0."""
    centres = at_rows(clouds, farthest_points(clouds, groups, starts))
    nearest = squared_distances(centres, clouds).topk(neighbours, dim=-1, largest=False, sorted=False).indices
    around = at_rows(clouds, nearest.flatten(1)).reshape(len(clouds), groups, neighbours, -1)
    return Groups(centres, around - centres[:, :, None])


def farthest_points(clouds: Tensor, count: int, starts: Tensor | None = None) -> Tensor:
    """[B, count] rows of [B, N, 3] clouds, each the farthest from all before it (Eldar et al. 1997)."""
    batch, points = clouds.shape[:2]
    current = torch.zeros(batch, dtype=torch.long, device=clouds.device) if starts is None else starts.to(clouds.device)
    rows = torch.empty(batch, count, dtype=torch.long, device=clouds.device)
    distance = torch.full((batch, points), torch.inf, device=clouds.device)
    each = torch.arange(batch, device=clouds.device)
    for index in range(count):
        rows[:, index] = current
        centre = clouds[each, current][:, None]
        distance = torch.minimum(distance, ((clouds - centre) ** 2).sum(dim=-1))
        current = distance.argmax(dim=-1)
    return rows


def squared_distances(centres: Tensor, clouds: Tensor) -> Tensor:
    """[B, G, N] as -2ab + |a|^2 + |b|^2, in this order: in a near tie another sum picks another neighbour."""
    products = -2 * centres @ clouds.transpose(1, 2)
    products += (centres**2).sum(dim=-1)[:, :, None]
    products += (clouds**2).sum(dim=-1)[:, None]
    return products


def at_rows(clouds: Tensor, rows: Tensor) -> Tensor:
    """[B, M, 3]: the rows [B, M] of [B, N, 3]."""
    return clouds.gather(1, rows[..., None].expand(-1, -1, clouds.shape[-1]))
