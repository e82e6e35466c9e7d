"""Scenes as the trunk sees them, computed once and kept: [N, 780, 14, 14] float16, and the truth beside it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.format import open_memmap
from PIL import Image

from pandagpt_core.encoders.grid.encoder import DEEP, FINE, PLAIN, SIDE, GridTrunk, for_trunk
from pandagpt_core.encoders.mini.trunk import fold_published
from pandagpt_core.media.pictures.image import eva_array
from pandagpt_core.training.log import Log
from recipes.panda_locate.cutouts import Cutouts
from recipes.panda_locate.scenes import DrawnScene, draw_scene
from recipes.panda_locate.things import DrawnThing
from recipes.panda_mini.data.corpus import published_trunk

_BATCH = 8


class Kept(NamedTuple):
    """Features by scene, mapped from the disk, and the things of each scene."""

    maps: np.ndarray
    things: list[list[DrawnThing]]


def load_grid_trunk() -> GridTrunk:
    """The published trunk, folded; float32, frozen."""
    trunk = GridTrunk()
    folded = fold_published(published_trunk())
    trunk.load_state_dict({name: tensor for name, tensor in folded.items() if not name.startswith("classifier.")})
    return trunk.eval().requires_grad_(False)


def scene_features(
    folder: Path, cutouts: Cutouts, photos: Sequence[Image.Image], count: int, seed: int, log: Log
) -> Kept:
    """Features of `count` scenes; goes on where it was interrupted."""
    folder.mkdir(parents=True, exist_ok=True)
    path, truth = folder / "maps.npy", folder / "things.jsonl"
    shape = (count, DEEP + FINE + PLAIN, SIDE, SIDE)
    done = _lines(truth) if path.exists() else []
    maps = open_memmap(path, mode="r+" if path.exists() else "w+", dtype=np.float16, shape=shape)
    trunk = load_grid_trunk()
    for first in range(len(done), count, _BATCH):
        scenes = [
            draw_scene(cutouts, photos, np.random.default_rng((seed, at)))
            for at in range(first, min(first + _BATCH, count))
        ]
        maps[first : first + len(scenes)] = trunk_maps(trunk, scenes).numpy()
        maps.flush()
        with truth.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps([[t.name, t.colour, t.box] for t in scene.things]) + "\n" for scene in scenes)
        if first % (_BATCH * 20) == 0:
            log("scenes", done=first, of=count)
    return Kept(np.load(path, mmap_mode="r"), _lines(truth)[:count])


@torch.inference_mode()
def trunk_maps(trunk: GridTrunk, scenes: Sequence[DrawnScene]) -> torch.Tensor:
    """[N, 780, 14, 14] float16, through the very recipe of service."""
    pictures = torch.from_numpy(np.stack([eva_array(scene.picture) for scene in scenes]))
    with torch.autocast("cpu", torch.bfloat16):
        maps: torch.Tensor = trunk(for_trunk(pictures).to(memory_format=torch.channels_last))
    return maps.half()


def _lines(path: Path) -> list[list[DrawnThing]]:
    if not path.exists():
        return []
    return [
        [DrawnThing(name, colour, tuple(box)) for name, colour, box in json.loads(line)]
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
