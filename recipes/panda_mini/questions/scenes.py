"""Scenes whose truth is exact: icons of a style never trained on, on drawn grounds; and pictures that show nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.held_out import STYLE
from recipes.panda_mini.data.media import icons

SIDE = 448


@dataclass(frozen=True, slots=True)
class Placed:
    """An icon by its slug; where its middle is and how large it is, in shares of the picture's side."""

    slug: str
    x: float
    y: float
    size: float


@dataclass(frozen=True, slots=True)
class Scene:
    ground: str
    things: tuple[Placed, ...]


def _row(slug: str, n: int, y: float, size: float) -> tuple[Placed, ...]:
    return tuple(Placed(slug, (index + 0.5) / n, y, size) for index in range(n))


SCENES: Mapping[str, Scene] = {
    "fruit": Scene(
        "white",
        (Placed("red-apple", 0.18, 0.5, 0.28), Placed("pear", 0.5, 0.5, 0.28), Placed("banana", 0.82, 0.5, 0.28)),
    ),
    "dogs": Scene("#7cba5a", (Placed("dog-face", 0.27, 0.5, 0.36), Placed("dog-face", 0.73, 0.5, 0.36))),
    "one_car": Scene("white", (Placed("automobile", 0.22, 0.78, 0.34),)),
    "bus_and_bicycle": Scene("#e8e8e8", (Placed("bus", 0.26, 0.5, 0.4), Placed("bicycle", 0.76, 0.5, 0.38))),
    "four_hearts": Scene("white", (*_row("red-heart", 2, 0.28, 0.26), *_row("red-heart", 2, 0.72, 0.26))),
    "five_balls": Scene("#a9d18e", (*_row("soccer-ball", 3, 0.28, 0.24), *_row("soccer-ball", 2, 0.74, 0.24))),
    "big_cat_small_mouse": Scene("#9cc9f2", (Placed("cat", 0.32, 0.5, 0.5), Placed("mouse", 0.83, 0.6, 0.2))),
    "tree_top_sun": Scene("#eaf4ff", (Placed("deciduous-tree", 0.28, 0.68, 0.44), Placed("sun", 0.78, 0.24, 0.28))),
    "violin": Scene("white", (Placed("violin", 0.5, 0.26, 0.42),)),
    "three_fish": Scene("#fff3d6", _row("fish", 3, 0.5, 0.27)),
    "umbrella": Scene("#f4f4f4", (Placed("umbrella", 0.76, 0.5, 0.4),)),
}


def _noise() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def _gradient() -> np.ndarray:
    ramp = np.linspace(40, 220, SIDE)[None, :, None]
    return np.broadcast_to(ramp, (SIDE, SIDE, 3)).astype(np.uint8)


def _stripes() -> np.ndarray:
    bars = (np.arange(SIDE) // 32 % 2 * 255)[None, :, None]
    return np.broadcast_to(bars, (SIDE, SIDE, 3)).astype(np.uint8)


NOTHING: Mapping[str, Callable[[], np.ndarray]] = {
    "blank_white": lambda: np.full((SIDE, SIDE, 3), 255, np.uint8),
    "black": lambda: np.zeros((SIDE, SIDE, 3), np.uint8),
    "noise": _noise,
    "gradient": _gradient,
    "stripes": _stripes,
}


def drawn(packages: Path, name: str) -> Image.Image:
    """The scene of that name, RGB."""
    if name in NOTHING:
        return Image.fromarray(NOTHING[name]())
    scene = SCENES[name]
    found = {icon.stem: icon for icon in icons(packages, load_concepts(), (STYLE,))}
    canvas = Image.new("RGB", (SIDE, SIDE), scene.ground)
    for thing in scene.things:
        icon = found[thing.slug].draw()
        icon = icon.crop(icon.getchannel("A").getbbox())
        side = round(thing.size * SIDE)
        icon.thumbnail((side, side))
        if max(icon.size) < side:
            icon = icon.resize((round(icon.width * side / max(icon.size)), round(icon.height * side / max(icon.size))))
        at = (round(thing.x * SIDE - icon.width / 2), round(thing.y * SIDE - icon.height / 2))
        canvas.paste(icon.convert("RGB"), at, icon.getchannel("A"))
    return canvas
