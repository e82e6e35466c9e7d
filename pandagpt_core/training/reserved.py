"""The set that judges and chooses nothing: `python -m pandagpt_core.training.reserved MODEL`.

Pictures of Debian's `tuxpaint-stamps-default` whose file is named exactly as a concept's stem says. They are measured
when a model is finished, and never while one is made. Some of the stamps are in the clip art too, and are not trained
on; should another be, as `copies` tells, the figure without it is the one that counts.
"""

import argparse
import json
import sys
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from pandagpt_core.runtime import Runtime
from pandagpt_core.training.concepts import load_concepts
from pandagpt_core.training.data.copies import copies
from pandagpt_core.training.data.corpus import training_pictures
from pandagpt_core.training.data.media import Picture, reserved_pictures
from pandagpt_core.training.evaluate import answers, embed_pictures, score
from pandagpt_core.types import Modality


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(".cache/mini"))
    asked = parser.parse_args()
    sys.stdout.write(json.dumps(reserved_scores(Runtime.load(asked.model), asked.cache / "packages"), indent=2) + "\n")


def reserved_scores(runtime: Runtime, packages: Path) -> dict[str, Any]:
    """All that can be drawn; those of them that nothing trained on looks like; and of these by kind of file."""
    concepts = load_concepts()
    named = reserved_pictures(packages, concepts)
    pictures = [picture for picture in named if is_drawable(picture)]
    met = copies(pictures, [picture for picture in training_pictures(packages) if picture.concept >= 0])
    said = answers(runtime, Modality.IMAGE, embed_pictures(runtime, pictures))
    scores = {
        name: score([said[i] for i in chosen], [pictures[i].concept for i in chosen], concepts).said()
        for name, chosen in parts(pictures, met).items()
    }
    return {"reserved, not drawable": len(named) - len(pictures), **scores}


def parts(pictures: Sequence[Picture], met: Container[int]) -> dict[str, list[int]]:
    """The indices of each set that a figure is of, those that have any; the PNG are photos for the most part.

    `met`: the indices of pictures that are trained on.
    """
    unmet = [index for index in range(len(pictures)) if index not in met]
    found = {
        "reserved, with copies of what is trained on": list(range(len(pictures))),
        "reserved": unmet,
        "reserved, PNG": [index for index in unmet if _kind(pictures[index]) == "PNG"],
        "reserved, SVG": [index for index in unmet if _kind(pictures[index]) == "SVG"],
    }
    return {name: chosen for name, chosen in found.items() if chosen}


def is_drawable(picture: Picture) -> bool:
    """A few SVG name no size that a renderer could draw them at."""
    try:
        picture.draw()
    except (OSError, ValueError):
        return False
    return True


def _kind(picture: Picture) -> str:
    return "SVG" if picture.data.lstrip()[:1] == b"<" else "PNG"


if __name__ == "__main__":
    main()
