"""Point-Bind's encoder of 3D point clouds (Guo et al. 2023, section 3): groups of neighbours become tokens.

The transformer is that of a masked autoencoder (Point-MAE, Pang et al. 2022), without masks.

Parameter names are those of the released `imagebind_w3D.pth`, so its keys load without a map.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.encoders.points.sizes import PointSize
from pandagpt_core.encoders.transformer import MLP, MLP_RATIO
from pandagpt_core.errors import InvalidMedia
from pandagpt_core.llm.quant.linear import Linear

LOCAL = (128, 256, 512)  # channels inside of the network that reads one group
POSITION = 128  # channels between a centre and its position


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


class GroupEncoder(nn.Module):
    """A small PointNet (Qi et al. 2017): one vector for each group, for any order of its points."""

    def __init__(self, out: int) -> None:
        super().__init__()
        narrow, middle, wide = LOCAL
        self.first_conv = nn.Sequential(
            nn.Conv1d(3, narrow, 1), nn.BatchNorm1d(narrow), nn.ReLU(), nn.Conv1d(narrow, middle, 1)
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(wide, wide, 1), nn.BatchNorm1d(wide), nn.ReLU(), nn.Conv1d(wide, out, 1)
        )

    def forward(self, neighbours: Tensor) -> Tensor:
        """[B, G, K, 3] points around their centres to [B, G, out]."""
        points = neighbours.flatten(0, 1).transpose(1, 2)  # [B * G, 3, K]
        local = self.first_conv(points)
        overall = local.amax(dim=2, keepdim=True).expand_as(local)
        joined = self.second_conv(torch.cat([overall, local], dim=1))  # [B * G, out, K]
        best: Tensor = joined.amax(dim=2).unflatten(0, neighbours.shape[:2])
        return best


class PointAttention(nn.Module):
    """Multi-head self-attention; the joined projection has no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width, bias=False)
        self.proj = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        split = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # [B, T, 3, H, d]
        q, k, v = split.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class PointBlock(nn.Module):
    """Attention, then MLP, each behind a LayerNorm of torch's usual eps (1e-5) and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = PointAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, MLP_RATIO * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PointBlocks(nn.Module):
    def __init__(self, size: PointSize) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PointBlock(size.width, size.heads) for _ in range(size.blocks))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]; the positions are added in front of every block."""
        for block in self.blocks:
            x = block(x + positions)
        return x


class PointTransformer(nn.Module):
    """Groups to tokens, a class token in front, and a transformer."""

    def __init__(self, size: PointSize) -> None:
        super().__init__()
        self.encoder = GroupEncoder(size.local)
        self.reduce_dim = Linear(size.local, size.width)
        self.cls_token = nn.Parameter(torch.empty(1, 1, size.width))
        self.cls_pos = nn.Parameter(torch.empty(1, 1, size.width))
        self.pos_embed = nn.Sequential(Linear(3, POSITION), nn.GELU(), Linear(POSITION, size.width))
        self.blocks = PointBlocks(size)
        self.norm = nn.LayerNorm(size.width)

    def forward(self, groups: Groups) -> Tensor:
        """[B, 1 + G, D], the class token first."""
        count = len(groups.centres)
        tokens = self.reduce_dim(self.encoder(groups.neighbours))  # [B, G, D]
        x = torch.cat([self.cls_token.expand(count, -1, -1), tokens], dim=1)
        positions = torch.cat([self.cls_pos.expand(count, -1, -1), self.pos_embed(groups.centres)], dim=1)
        encoded: Tensor = self.norm(self.blocks(x, positions))
        return encoded


def checked_clouds(clouds: Tensor, size: PointSize) -> Tensor:
    """The clouds as float32. Raises InvalidMedia for an array that is not [N, P, 3] with enough points."""
    least = max(size.groups, size.neighbours)
    if clouds.ndim != 3 or clouds.shape[2] != 3 or clouds.shape[1] < least:
        raise InvalidMedia(
            f"an array of shape {tuple(clouds.shape)}; the tower takes (N, P, 3) of {least} points at least"
        )
    return clouds.float()


class PointTrunk(nn.Module):
    """From clouds to what the head of ImageBind's space reads. Batch norms use the checkpoint's statistics (eval)."""

    def __init__(self, size: PointSize) -> None:
        super().__init__()
        self.size = size
        self.point_encoder = PointTransformer(size)
        self.pc_projection = nn.Parameter(torch.empty(2 * size.width, size.projected))

    def forward(self, clouds: Tensor, starts: Tensor | None = None) -> Tensor:
        """[B, N, 3] clouds in the unit sphere to [B, projected].

        starts: [B] the row that the choice of centres begins with, 0 where none is given. The original draws it at
        random, so that one cloud has many embeddings; a service must give the same answer twice.
        """
        return self.pool(self.tokens(clouds, starts))

    def tokens(self, clouds: Tensor, starts: Tensor | None = None) -> Tensor:
        """[B, N, 3] to [B, 1 + G, D]: a class token and one for each group."""
        encoded: Tensor = self.point_encoder(grouped(clouds, self.size.groups, self.size.neighbours, starts))
        return encoded

    def pool(self, tokens: Tensor) -> Tensor:
        """The class token beside the groups' maximum, projected: [B, projected]."""
        return torch.cat([tokens[:, 0], tokens[:, 1:].amax(dim=1)], dim=-1) @ self.pc_projection
