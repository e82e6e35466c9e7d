"""The small default's validation sets as a manifest for `pandagpt eval`: `python -m ...mini_manifest CACHE FOLDER`.

Media are written as a caller would send them, so the same set can be asked over HTTP. Depth and heat are synthetic.
"""

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pandagpt_core.media.depth import MEAN, MOST_DISPARITY, STD
from pandagpt_core.training.concepts import Concept, load_concepts
from pandagpt_core.training.data import corpus, held_out
from pandagpt_core.training.data.media import icons
from pandagpt_core.training.data.motion import RATE_HZ, recordings
from pandagpt_core.training.data.recordings import real_recordings
from pandagpt_core.training.evaluate import picture_bytes
from pandagpt_core.training.evaluation import Manifest, write_manifest
from pandagpt_core.training.evaluation.manifest import ConceptEntry, TextEntry
from pandagpt_core.types import Modality

Params = dict[str, float | str]
Medium = tuple[Modality, bytes, str, Params]
Entry = tuple[str, str, Sequence[Medium]]


def write_mini(packages: Path, folder: Path, questions: Sequence[TextEntry] = (), thin: int = 1) -> Manifest:
    """Every held-out set of all six modalities, pairs of picture and sound, and questions without media.

    packages: where the packages of the recipe lie unpacked. thin: every so many items of each set, to try it.
    """
    concepts = load_concepts()
    entries = [ConceptEntry(one.name, one.cat) for one in concepts]
    return write_manifest(folder, "panda-mini's validation sets", entries, _items(packages, concepts, thin), questions)


def _items(packages: Path, concepts: tuple[Concept, ...], thin: int) -> Iterator[Entry]:
    for name, pictures in corpus.validation_sets(packages).items():
        for picture in pictures[::thin]:
            yield name, concepts[picture.concept].name, [(Modality.IMAGE, picture_bytes(picture), ".png", {})]
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
    """Those of an unseen bank, alone and with a held-out icon of the same concept."""
    # Needs the player of sound banks, which not every installation has.
    from pandagpt_core.training.data.sounds import unseen_bank

    shown: dict[int, list[bytes]] = {}
    for picture in icons(packages, concepts, (held_out.STYLE,)):
        shown.setdefault(picture.concept, []).append(picture_bytes(picture))
    played = list(unseen_bank(packages, concepts, held_out.EACH, held_out.SEED))[::thin]
    for index, (concept, wave) in enumerate(played):
        sound: Medium = (Modality.AUDIO, held_out.wav(wave), ".wav", {})
        yield "sound bank", concepts[concept].name, [sound]
        if concept in shown:
            icon = shown[concept][index % len(shown[concept])]
            yield "picture and sound", concepts[concept].name, [(Modality.IMAGE, icon, ".png", {}), sound]


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
    from pandagpt_core.training.quiz import QUIZ

    asked = [TextEntry(question, right) for question, right in QUIZ.items()]
    manifest = write_mini(Path(sys.argv[1]) / "packages", Path(sys.argv[2]), asked)
    sys.stdout.write(f"{len(manifest.items)} items in {sys.argv[2]}\n")
