"""Meshes of a package, the clouds made of them, and the small tower that reads them."""

from pathlib import Path

import numpy as np
import torch

from pandagpt_core.encoders.mini.points import PointTower
from pandagpt_core.training.log import Log
from recipes.panda_mini.space.towers import TowerConfig
from recipes.panda_mini_bind.points.clouds import KEPT, SEEN, VIEWS, clouds_of, varied
from recipes.panda_mini_bind.points.meshes import NAMES, NamedMesh, named_meshes, split
from recipes.panda_mini_bind.points.train import PointSizes, train_points
from tests.recipes.panda_mini_bind.furniture import box, library

SMALL = PointSizes(width=8, blocks=1, heads=2, groups=4, neighbours=4, local=8)


def test_no_mesh_is_trained_on_and_held_out(tmp_path: Path) -> None:
    library(tmp_path)
    meshes = named_meshes(tmp_path)
    assert [mesh.concept for mesh in meshes] == ["chair"] * 4
    trained, held = split(meshes)
    assert ([one.name for one in trained], [one.name for one in held]) == (
        ["BlendSwap-CC-0/0.obj", "BlendSwap-CC-BY/1.obj"],
        ["KatorLegaz/2.obj"],  # Scopia's is the same file
    )


def test_a_varied_cloud_is_another_each_time_and_in_the_unit_sphere() -> None:
    clouds = clouds_of(NamedMesh("chair", "x", box(1, 2, 3)))
    assert clouds.shape == (VIEWS, KEPT, 3)
    one, other = (varied(clouds, np.random.default_rng(seed)) for seed in (1, 2))
    assert one.shape == (SEEN, 3)
    assert np.linalg.norm(one, axis=1).max() <= 1 + 1e-5
    assert not np.allclose(one, other)


def test_the_tower_trains_and_gives_unit_vectors() -> None:
    concepts = list(NAMES)
    bank = torch.nn.functional.normalize(torch.randn(len(concepts), 6), dim=-1)
    meshes = [NamedMesh(concepts[at], str(at), box(1, 1 + at, 2)) for at in range(3)]
    tower = train_points(meshes, concepts, bank, SMALL, TowerConfig(steps=2, batch=4), Log())
    assert isinstance(tower, PointTower)
    with torch.inference_mode():
        found = tower(torch.randn(2, 8192, 3))
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2))
