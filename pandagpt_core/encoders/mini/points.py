"""A small tower for point clouds: Point-Bind's encoder with few blocks, over few of the cloud's points."""

import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.encoders.points.encoder import PointTrunk, checked_clouds
from pandagpt_core.encoders.points.sizes import PointSize

SEEN = 1024  # points, evenly by row: the nearest of 8,192 points add nothing for a small network


class PointTower(nn.Module):
    """[N, P, 3] clouds in the unit sphere in, [N, dim] unit vectors out."""

    def __init__(self, dim: int, width: int, blocks: int, heads: int, groups: int, neighbours: int, local: int) -> None:
        super().__init__()
        self.trunk = PointTrunk(PointSize(width, blocks, heads, groups, neighbours, local, dim))
        transformer = self.trunk.point_encoder
        for made_empty in (transformer.cls_token, transformer.cls_pos, self.trunk.pc_projection):
            nn.init.normal_(made_empty, std=0.02)

    def forward(self, clouds: Tensor) -> Tensor:
        clouds = checked_clouds(clouds, self.trunk.size)
        seen = clouds[:, :: max(1, clouds.shape[1] // SEEN)]
        return F.normalize(self.trunk(seen), dim=-1)
