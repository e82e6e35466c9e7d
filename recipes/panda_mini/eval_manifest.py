"""The small default's validation sets as a manifest for `pandagpt eval`: `python -m ...mini_manifest CACHE FOLDER`.

Media are written as a caller would send them, so the same set can be asked over HTTP. Depth, heat and video are
synthetic. The reserved pictures are another manifest (`reserved`).
"""

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pandagpt_core.media.maps.depth import MEAN, MOST_DISPARITY, STD
from pandagpt_core.training.evaluation import Manifest, write_manifest
from pandagpt_core.training.evaluation.manifest import ConceptEntry, TextEntry
from pandagpt_core.types import Modality
from recipes.panda_mini.concepts import Concept, load_concepts
from recipes.panda_mini.data import corpus, held_out
from recipes.panda_mini.data.media import Picture, icons
from recipes.panda_mini.data.motion import RATE_HZ, recordings
from recipes.panda_mini.data.recordings import real_recordings
from recipes.panda_mini.language.retention_eval import PICTURELESS, QUIZ

Params = dict[str, float | str]
Medium = tuple[Modality, bytes, str, Params]
Entry = tuple[str, str, Sequence[Medium]]
# The photos are part of the lists whose other pictures are cartoons; both readings of "the photos" are given.
UNIONS = {"photo lists, all": ("photos", "cartoons")}
_VIDEO_EVERY = 3
_TEXT_TOKENS = 24


def write_mini(packages: Path, folder: Path, thin: int = 1) -> Manifest:
    """Every held-out set of all modalities, pairs of picture and sound, and questions without media.

    packages: where the packages of the recipe lie unpacked. thin: every so many items of each set, to try it.
    """
    return write_manifest(
        folder,
        "panda-mini's validation sets",
        concept_entries(),
        _items(packages, load_concepts(), thin),
        [TextEntry(question, right) for question, right in list(QUIZ.items())[::thin]],
        unions=UNIONS,
        nothing=tuple(TextEntry(question, "no picture") for question in PICTURELESS[::thin]),
        text_tokens=_TEXT_TOKENS,
    )


def concept_entries() -> list[ConceptEntry]:
    return [ConceptEntry(one.name, one.cat) for one in load_concepts()]


def picture_medium(picture: Picture) -> Medium:
    """The file as a caller would send it; drawings in SVG as the PNG that they show."""
    if picture.data.lstrip()[:1] != b"<":
        return Modality.IMAGE, picture.data, ".png", {}
    out = io.BytesIO()
    picture.draw().save(out, "PNG")
    return Modality.IMAGE, out.getvalue(), ".png", {}


def _items(packages: Path, concepts: tuple[Concept, ...], thin: int) -> Iterator[Entry]:
    sets = corpus.validation_sets(packages)
    for name, pictures in sets.items():
        for picture in pictures[::thin]:
            yield name, concepts[picture.concept].name, [picture_medium(picture)]
    for picture in sets[held_out.STYLE][:: _VIDEO_EVERY * thin]:
        moving: Medium = (Modality.VIDEO, held_out.walking(picture), ".mp4", {})
        yield "video, synthetic", concepts[picture.concept].name, [moving]
    for concept, sentence in held_out.described(packages, concepts)[::thin]:
        yield "descriptions", concepts[concept].name, [(Modality.TEXT, sentence.encode(), ".txt", {})]
    for source, concept, data in real_recordings(packages, concepts)[::thin]:
        yield "recordings", concepts[concept].name, [(Modality.AUDIO, data, Path(source).suffix, {})]
    yield from _sounds(packages, concepts, thin)
    for kind in (Modality.DEPTH, Modality.THERMAL):
        maps, truth = held_out.made_up_maps(kind, packages, concepts, thin)
        for array, concept in zip(maps, truth, strict=True):
            yield f"{kind}, synthetic", concepts[concept].name, [map_medium(kind, array)]
    rows, labels = recordings(packages, "TEST", concepts)
    for one, concept in zip(rows[::thin], labels[::thin], strict=True):
        motion: Medium = (Modality.IMU, npy(one.astype(np.float32)), ".npy", {"rate_hz": RATE_HZ})
        yield "motion", concepts[concept].name, [motion]


def _sounds(packages: Path, concepts: tuple[Concept, ...], thin: int) -> Iterator[Entry]:
    """Sounds of an unseen bank, alone and with a held-out icon of the same concept."""
    # Needs the player of sound banks, which not every installation has.
    from recipes.panda_mini.data.sounds import unseen_bank

    shown: dict[int, list[Medium]] = {}
    for picture in icons(packages, concepts, (held_out.STYLE,)):
        shown.setdefault(picture.concept, []).append(picture_medium(picture))
    played = list(unseen_bank(packages, concepts, held_out.EACH, held_out.SEED))[::thin]
    for index, (concept, wave) in enumerate(played):
        sound: Medium = (Modality.AUDIO, held_out.wav(wave), ".wav", {})
        yield "sound bank", concepts[concept].name, [sound]
        if concept in shown:
            icon = shown[concept][index % len(shown[concept])]
            yield "picture and sound", concepts[concept].name, [icon, sound]


def map_medium(kind: Modality, array: np.ndarray) -> Medium:
    """An encoder's map [1, 1, H, W] as the .npy file that the recipe makes it of."""
    if kind == Modality.THERMAL:
        return kind, npy(array[0, 0].astype(np.float32)), ".npy", {}
    return kind, npy(((array[0, 0] * STD + MEAN) * MOST_DISPARITY).astype(np.float32)), ".npy", {"unit": "disparity"}


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


if __name__ == "__main__":
    manifest = write_mini(Path(sys.argv[1]) / "packages", Path(sys.argv[2]))
    sys.stdout.write(f"{len(manifest.items)} items in {sys.argv[2]}\n")
