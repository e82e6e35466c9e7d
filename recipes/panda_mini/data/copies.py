"""Held-out pictures that are trained on as well: free clip art travels, and two packages may hold one drawing.

Compared by numbers, so that nobody need look at a picture that is reserved.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from recipes.panda_mini.data.media import Picture

_SIDE = 16
_STEP = 2  # grey levels: less is no edge
_MOST_EDGES, _MOST_COLOUR = 40, 12.0  # of 512 edges; mean difference of colours, 0 to 255
_FEWEST_EDGES = 2 * _MOST_EDGES  # less is next to nothing on white, and alike whatever it is


def copies(held_out: Sequence[Picture], trained: Sequence[Picture]) -> set[int]:
    """Indices of held-out pictures that look nearly as one that is trained on, or as its mirror image.

    Drawings of one thing by two hands are far apart: of 321 icons of a style held out, the nearest to any that is
    trained on differs in 47 edges and by 25 levels.
    """
    prints = [_fingerprint(cutout) for cutout in map(_drawn, trained) if cutout is not None]
    known = [(edge, colour) for edge, colour in prints if edge.sum() >= _FEWEST_EDGES]
    if not known:
        return set()
    edges, colours = (np.stack(part) for part in zip(*known, strict=True))
    found = set()
    for index, cutout in enumerate(map(_drawn, held_out)):
        for way in (cutout, cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) if cutout is not None else ():
            edge, colour = _fingerprint(way)
            near = (edges ^ edge).sum(axis=1) < _MOST_EDGES
            if (near & (np.abs(colours - colour).mean(axis=1) < _MOST_COLOUR)).any():
                found.add(index)
    return found


def _drawn(picture: Picture) -> Image.Image | None:
    try:
        return picture.draw()
    except (OSError, ValueError):  # not a picture after all
        return None


def _fingerprint(cutout: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Edges [512] and colours [768] of the drawing, on white, the same for all margins and sizes."""
    drawn = cutout.crop(cutout.getchannel("A").getbbox())
    whole = Image.new("RGBA", drawn.size, "white")
    whole.alpha_composite(drawn)
    grey = np.asarray(whole.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.BICUBIC), np.int16)
    steps = grey[:, 1:] - grey[:, :-1]
    colours = np.asarray(whole.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), np.float32)
    return np.concatenate(((steps > _STEP).ravel(), (steps < -_STEP).ravel())), colours.ravel()
