"""The set that judges and chooses nothing, as a manifest; `python -m recipes.panda_mini.figures MODEL reserved`.

Pictures of Debian's `tuxpaint-stamps-default` whose file is named exactly as a concept's stem. They are measured
when a model is finished, and never while one is made. Some of the stamps are in the clip art too, and are not trained
on; should another be, as `copies` finds, it is a set of its own, and the union without it is the one that counts.
"""

from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from pandagpt_core.training.evaluation import Manifest, write_manifest
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.copies import copies
from recipes.panda_mini.data.corpus import training_pictures
from recipes.panda_mini.data.media import Picture, reserved_pictures
from recipes.panda_mini.eval_manifest import concept_entries, picture_medium

COPIES = "copies of what is trained on"
UNION = "reserved"


def write_reserved(packages: Path, folder: Path, thin: int = 1) -> Manifest:
    """Write the pictures that can be drawn, by kind of file. thin: every so many, to try it; training uses all."""
    concepts = load_concepts()
    named = reserved_pictures(packages, concepts)[::thin]
    pictures = [picture for picture in named if is_drawable(picture)]
    met = copies(pictures, [picture for picture in training_pictures(packages) if picture.concept >= 0])
    lost = len(named) - len(pictures)
    sets = {name for name, _ in parts(pictures, met)} - {COPIES}
    return write_manifest(
        folder,
        "panda-mini's reserved pictures",
        concept_entries(),
        ((name, concepts[one.concept].name, [picture_medium(one)]) for name, one in parts(pictures, met)),
        unions={UNION: tuple(sorted(sets))},
        left_out=(f"{lost} SVG that no size can be told of: they cannot be drawn",) if lost else (),
    )


def parts(pictures: Sequence[Picture], met: Container[int]) -> Iterator[tuple[str, Picture]]:
    """Each picture with its set: its kind of file (the PNG are photos for the most part), or that it is trained on.

    `met`: the indices of pictures that are trained on.
    """
    for index, picture in enumerate(pictures):
        yield COPIES if index in met else "SVG" if picture.data.lstrip()[:1] == b"<" else "PNG", picture


def is_drawable(picture: Picture) -> bool:
    """A few SVG name no size that a renderer could draw them at."""
    try:
        picture.draw()
    except (OSError, ValueError):
        return False
    return True
