"""Backgrounds of a scene: drawn grounds, and photographs of places without any of the things."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 448
# Photographs of the package mvtb-data (MIT), and textures of scikit-image (public domain, CC0).
TRAINED = (
    "building2-1", "building2-2", "building2-3", "castle2", "church", "road", "roof", "rocks2-l", "walls-l",
    "brick", "grass", "gravel",
)  # fmt: skip
HELD_OUT = ("castle", "notre-dame", "eiffel-1", "street")
_FOLDERS = ("mvtb-data/mvtbdata/images", "scikit-image/skimage/data")
_LONGEST = 1400


def photographs(packages: Path, names: Sequence[str]) -> list[Image.Image]:
    """By name, at most `_LONGEST` pixels long; a name that no package has is an error of the recipe."""
    found = []
    for name in names:
        [path, *_] = [path for folder in _FOLDERS for path in sorted((packages / folder).glob(f"{name}.*"))]
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((_LONGEST, _LONGEST))
        found.append(picture)
    return found


def ground(photos: Sequence[Image.Image], rng: np.random.Generator) -> Image.Image:
    """[448, 448]: a part of a photograph, one colour, or a few colours that flow into one another."""
    kind = rng.random()
    if kind < 0.45 and photos:
        return _part(photos[int(rng.integers(len(photos)))], rng)
    if kind < 0.6:
        return Image.new("RGB", (SIZE, SIZE), "white" if kind < 0.52 else _colour(rng))
    cells = int(rng.choice([2, 3, 6, 14, 28]))
    base = rng.uniform(20, 235, 3)
    few = np.clip(base + rng.normal(0, rng.uniform(10, 60), (cells, cells, 3)), 0, 255).astype(np.uint8)
    return Image.fromarray(few).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def _part(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = int(min(photo.size) * rng.uniform(0.5, 1.0))
    left, top = (int(rng.integers(length - side + 1)) for length in photo.size)
    return photo.resize((SIZE, SIZE), Image.Resampling.BILINEAR, (left, top, left + side, top + side))


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(value) for value in rng.integers(0, 256, 3))
