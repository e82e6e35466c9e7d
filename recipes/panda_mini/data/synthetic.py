"""Depth and heat made up from cut-outs. SYNTHETIC: no sensor took them, and figures on them say so.

Depth: a relief, high where the silhouette is broad, stepped where colours change, before a slanting background.
Heat: the concept's own warmth inside the silhouette, warmest at its core, against a background at room temperature.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from recipes.panda_mini.concepts import Concept
from recipes.panda_mini.data.media import Picture

SIZE = 224
_CORES = (4, 12, 28)


def layers(cutout: Image.Image) -> np.ndarray:
    """[3, 224, 224] uint8 of one cut-out: silhouette, how deep inside it each pixel lies, and grey regions."""
    piece = ImageOps.contain(cutout, (SIZE, SIZE))
    canvas = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    canvas.paste(piece, ((SIZE - piece.width) // 2, (SIZE - piece.height) // 2))
    alpha = canvas.getchannel("A")
    cores = [np.asarray(alpha.filter(ImageFilter.GaussianBlur(radius)), np.float32) for radius in _CORES]
    grey = canvas.convert("L").filter(ImageFilter.MedianFilter(5))
    return np.stack([np.asarray(alpha), np.mean(cores, axis=0).astype(np.uint8), np.asarray(grey)])


def _moved(parts: np.ndarray, rng: np.random.Generator, turn: float) -> np.ndarray:
    """[3, 224, 224] float32 in 0..1: mirrored, shrunk and shifted, and where `turn` (degrees) is above 0 turned."""
    side = int(SIZE * rng.uniform(0.65, 1.0))
    at = rng.integers(0, SIZE - side + 1, 2)
    mirrored = rng.random() < 0.5
    angle = float(rng.uniform(-turn, turn))
    stretch = float(np.exp(rng.uniform(-turn, turn) / 150))
    moved = np.zeros((len(parts), SIZE, SIZE), np.float32)
    for index, part in enumerate(parts):
        small = Image.fromarray(part)
        if turn:
            wide = small.resize((int(SIZE * min(stretch, 1)), int(SIZE * min(1 / stretch, 1))))
            small = Image.new("L", (SIZE, SIZE))
            small.paste(wide, ((SIZE - wide.width) // 2, (SIZE - wide.height) // 2))
            small = small.rotate(angle, Image.Resampling.BILINEAR)
        small = small.resize((side, side), Image.Resampling.BILINEAR)
        small = ImageOps.mirror(small) if mirrored else small
        moved[index, at[0] : at[0] + side, at[1] : at[1] + side] = np.asarray(small, np.float32) / 255
    return moved


def depth(parts: np.ndarray, rng: np.random.Generator, turn: float = 0.0) -> np.ndarray:
    """[1, 224, 224] normalised disparity, as the recipe `depth-sunrgbd-v1` gives it."""
    inside, core, grey = _moved(parts, rng, turn)
    down, right = np.mgrid[0:1:224j, 0:1:224j].astype(np.float32)
    ground = rng.uniform(-1.2, -0.4) + rng.uniform(0, 0.6) * down + rng.uniform(-0.2, 0.2) * right
    relief = rng.uniform(0.2, 1.2) + rng.uniform(0.8, 1.6) * core + rng.uniform(0.2, 0.6) * grey
    found = ground * (1 - inside) + relief * inside + rng.normal(0, 0.03, inside.shape)
    disparity: np.ndarray = found.astype(np.float32)[None]
    return disparity


def heat(parts: np.ndarray, warmth: float, rng: np.random.Generator, turn: float = 0.0) -> np.ndarray:
    """[1, 224, 224] values 0..1, as the recipe `imagebind-thermal-v1` gives them; `warmth` is the concept's, 0 to 1."""
    inside, core, grey = _moved(parts, rng, turn)
    around = rng.uniform(0.15, 0.3)
    body = 0.1 + 0.75 * warmth + rng.uniform(0.05, 0.15) * (core - 0.5) + rng.uniform(0.05, 0.15) * (grey - 0.5)
    found = around * (1 - inside) + body * inside + rng.normal(0, 0.01, inside.shape)
    warm: np.ndarray = np.clip(found, 0, 1).astype(np.float32)[None]
    return warm


Relief = Callable[[np.ndarray, Concept, np.random.Generator, float], np.ndarray]
# A map of a picture's layers, by the modality's name; the number is how far it may be turned, in degrees.
RELIEFS: dict[str, Relief] = {
    "depth": lambda parts, _concept, rng, turn: depth(parts, rng, turn),
    "thermal": lambda parts, concept, rng, turn: heat(parts, concept.heat, rng, turn),
}


def drawn_layers(picture: Picture) -> np.ndarray | None:
    """The layers that maps are made of, or None where the file is not a picture after all."""
    try:
        cutout = picture.draw()
    except (OSError, ValueError):
        return None
    return layers(cutout)
