"""The 204 everyday concepts of the small default model: names, descriptions, and where each is found."""

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Concept:
    """One concept. `heat` is how warm it is, 0 to 1; `slugs`, `gc`, `tux` and `oc` find its pictures by file name."""

    name: str
    desc: str
    cat: str
    heat: float
    slugs: tuple[str, ...]
    tux: tuple[str, ...]
    gc: tuple[str, ...]
    oc: str


def load_concepts() -> tuple[Concept, ...]:
    return msgspec.json.decode((_FOLDER / "concepts.json").read_bytes(), type=tuple[Concept, ...])


def load_imagenet() -> dict[str, tuple[int, ...]]:
    """Concept name -> ImageNet-1k class indices."""
    return {name: tuple(ids) for name, ids in json.loads((_FOLDER / "imagenet.json").read_text()).items()}


def load_general_midi() -> dict[str, tuple[int, ...]]:
    """Concept name -> General MIDI programs."""
    return {name: tuple(ids) for name, ids in json.loads((_FOLDER / "general_midi.json").read_text()).items()}
