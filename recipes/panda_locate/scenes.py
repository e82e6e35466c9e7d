"""Scenes drawn after a plan: their things and places are known exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from recipes.panda_locate.cutouts import Cutouts, outline, tinted, varied
from recipes.panda_locate.grounds import SIZE, ground
from recipes.panda_locate.plans import Plan, plan_scene
from recipes.panda_locate.things import DrawnThing

_BLURRED = 0.15


@dataclass(frozen=True, slots=True)
class DrawnScene:
    picture: Image.Image
    things: tuple[DrawnThing, ...]


def draw_scene(cutouts: Cutouts, photos: Sequence[Image.Image], rng: np.random.Generator) -> DrawnScene:
    """[448, 448] with 1 to 6 things of those that there are cut-outs of."""
    picture = ground(photos, rng)
    things = [_drawn(plan, cutouts, picture, rng) for plan in plan_scene(rng, tuple(sorted(cutouts)))]
    if rng.random() < _BLURRED:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.2))))
    return DrawnScene(picture, tuple(things))


def _drawn(plan: Plan, cutouts: Cutouts, picture: Image.Image, rng: np.random.Generator) -> DrawnThing:
    """Put the thing into the picture; its box is that of its opaque pixels, within the picture."""
    choices = cutouts[plan.name]
    cutout = choices[int(rng.integers(len(choices)))]
    piece = varied(cutout if plan.colour < 0 else tinted(cutout, plan.colour, rng), rng)
    box = outline(piece)
    assert box is not None, "a cut-out has opaque pixels"
    piece = piece.crop(box)
    scale = plan.side * SIZE / max(piece.size)
    width, height = (max(2, round(length * scale)) for length in piece.size)
    piece = piece.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round(plan.x * SIZE - width / 2), round(plan.y * SIZE - height / 2)
    picture.paste(piece.convert("RGB"), (left, top), piece.getchannel("A"))
    sides = (left, top, left + width, top + height)
    x0, y0, x1, y1 = (min(max(side / SIZE, 0.0), 1.0) for side in sides)
    return DrawnThing(plan.name, plan.colour, (x0, y0, x1, y1))
