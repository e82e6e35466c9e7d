"""The set that judges and chooses nothing: `python -m pandagpt_core.training.reserved MODEL`.

Pictures of Debian's `tuxpaint-stamps-default` whose file is named exactly as a concept's stem says. They are measured
when a model is finished, and never while one is made.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pandagpt_core.runtime import Runtime
from pandagpt_core.training.concepts import load_concepts
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
    """All of them, and by kind of file: the PNG are photos for the most part, the SVG are drawings."""
    concepts = load_concepts()
    pictures = reserved_pictures(packages, concepts)
    said = answers(runtime, Modality.IMAGE, embed_pictures(runtime, pictures))
    rows = list(zip(said, (picture.concept for picture in pictures), map(_kind, pictures), strict=True))
    figures = {}
    for name in ("reserved", "reserved, PNG", "reserved, SVG"):
        chosen = [(answer, concept) for answer, concept, kind in rows if name.endswith(("reserved", kind))]
        told, truth = zip(*chosen, strict=True)
        figures[name] = score(told, truth, concepts).said()
    return figures


def _kind(picture: Picture) -> str:
    return "SVG" if picture.data.lstrip()[:1] == b"<" else "PNG"


if __name__ == "__main__":
    main()
