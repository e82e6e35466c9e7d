"""The tower for point clouds, aligned to the space of pictures by the meshes' concepts, as panda-mini's others."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from pandagpt_core.encoders.mini.points import PointTower
from pandagpt_core.training.log import Log
from recipes.panda_mini.space.towers import Items, TowerConfig, align_tower
from recipes.panda_mini_bind.points.clouds import clouds_of, varied
from recipes.panda_mini_bind.points.meshes import NAMES, NamedMesh


@dataclass(frozen=True, slots=True)
class PointSizes:
    width: int = 96
    blocks: int = 3
    heads: int = 4
    groups: int = 32
    neighbours: int = 16
    local: int = 96


def train_points(
    meshes: Sequence[NamedMesh], names: Sequence[str], bank: Tensor, sizes: PointSizes, config: TowerConfig, log: Log
) -> PointTower:
    """names: of all concepts, in the order of `bank` [C, E]. Told apart are the concepts that meshes have."""
    known = [names.index(concept) for concept in NAMES]
    torch.manual_seed(config.seed)
    tower = PointTower(bank.shape[1], **asdict(sizes))
    items = Items(
        np.stack([clouds_of(mesh) for mesh in meshes]),
        np.array([known.index(names.index(mesh.concept)) for mesh in meshes]),
    )
    align_tower(tower, items, bank[known], varied, config, log)
    return tower
