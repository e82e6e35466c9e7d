"""Cut-outs of the things that scenes show, and their colours."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from recipes.panda_locate.things import COLOURS, NAMES
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.media import Picture, clip_art, icons

Cutouts = Mapping[int, Sequence[Image.Image]]  # by index in NAMES, RGBA, cut to what is not transparent
NAME_OF = {name: at for at, name in enumerate(NAMES)}
_LEAST = 24  # pixels of each side of what is kept
_OPAQUE = 40  # of 255: the least alpha of the thing, for its box
_STEPS = 256
# Names whose clip art is found by words that name other things too: bookmarks, businesses, planets.
_DOUBTFUL = frozenset(("airplane", "book", "bus", "car", "key", "lemon", "sailboat", "soccer ball"))


def training_cutouts(packages: Path) -> Cutouts:
    """The six styles that panda-mini learns from, and clip art of the public domain."""
    concepts = load_concepts()
    doubtful = {at for at, concept in enumerate(concepts) if concept.name in _DOUBTFUL}
    drawn = [picture for picture in clip_art(packages, concepts) if picture.concept not in doubtful]
    return by_name([*icons(packages, concepts), *drawn])


def held_out_cutouts(packages: Path) -> Cutouts:
    """A style that nothing is trained on."""
    return by_name(icons(packages, load_concepts(), ("openmoji",)))


def by_name(pictures: Iterable[Picture]) -> Cutouts:
    """Cut-outs of the things in NAMES; leaves out pictures that cannot be drawn."""
    concepts = load_concepts()
    found: dict[int, list[Image.Image]] = {}
    for picture in pictures:
        at = NAME_OF.get(concepts[picture.concept].name) if picture.concept >= 0 else None
        drawn = None if at is None else trimmed(picture)
        if at is not None and drawn is not None:
            found.setdefault(at, []).append(drawn)
    return found


def trimmed(picture: Picture) -> Image.Image | None:
    """Without the transparent margin; None for a picture that is nearly empty or has no transparency."""
    try:
        drawn = picture.draw()
    except (OSError, ValueError):
        return None
    box = outline(drawn)
    if box is None or min(box[2] - box[0], box[3] - box[1]) < _LEAST:
        return None
    cut = drawn.crop(box)
    return None if np.asarray(cut.getchannel("A")).min() > _OPAQUE and picture.source != "openmoji" else cut


def outline(drawn: Image.Image) -> tuple[int, int, int, int] | None:
    """The box of what is not transparent, in pixels."""
    return drawn.getchannel("A").point([0 if value < _OPAQUE else 255 for value in range(_STEPS)]).getbbox()


def tinted(cutout: Image.Image, colour: int, rng: np.random.Generator) -> Image.Image:
    """In shades of one colour: as light and dark as it was, its middle the colour, a little varied."""
    mean = np.array(tuple(COLOURS.values())[colour]) + rng.normal(0, 9, 3)
    middle = tuple(int(value) for value in np.clip(mean, 0, 255))
    dark = tuple(int(value * 0.35) for value in middle)
    light = tuple(int(value + (255 - value) * 0.55) for value in middle)
    grey = ImageOps.autocontrast(cutout.convert("RGB").convert("L"))
    tint = ImageOps.colorize(grey, dark, light, middle)
    tint.putalpha(cutout.getchannel("A"))
    return tint


def varied(cutout: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mirrored or not, turned a little, its own colours a little stronger or weaker."""
    piece = ImageOps.mirror(cutout) if rng.random() < 0.5 else cutout
    piece = piece.rotate(float(rng.uniform(-15, 15)), Image.Resampling.BILINEAR, expand=True)
    alpha, colours = piece.getchannel("A"), piece.convert("RGB")
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast):
        colours = enhancer(colours).enhance(float(rng.uniform(0.8, 1.2)))
    colours.putalpha(alpha)
    return colours
