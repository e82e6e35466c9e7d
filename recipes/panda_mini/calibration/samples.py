"""The media that names are calibrated on: each has a known name, and none was trained on.

Photographs of Debian's opencv-doc and wallpapers (`photos.toml`), labelled by hand, are of this purpose alone. All
others are items of the validation sets (`MEASURED_TOO`) beside made-up noises and signals: the figures of those sets
are of names that the calibration may have seen. A split apart from them would leave too few items of each.
"""

import io
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from torch import Tensor

from pandagpt_core.encoders.mini.encoder import MiniEncoder
from pandagpt_core.media import Limits, load
from pandagpt_core.media.sound.filterbank import RATE
from pandagpt_core.types import Modality
from recipes.panda_mini.concepts import Concept, load_concepts
from recipes.panda_mini.data import corpus, held_out
from recipes.panda_mini.data.media import Picture, icons
from recipes.panda_mini.data.motion import RATE_HZ, recordings
from recipes.panda_mini.data.recordings import real_recordings
from recipes.panda_mini.data.synthetic import RELIEFS, drawn_layers
from recipes.panda_mini.eval_manifest import npy, picture_medium
from recipes.panda_mini.space.embedding_space import imagenet_names

PHOTOS = Path(__file__).with_name("photos.toml")
_FOLDERS = ("opencv-doc", "ukui-wallpapers", "lomiri-wallpapers-20.04", "lomiri-wallpapers-16.04", "mate-backgrounds")
_ICONS, _MAPS, _SOUNDS, _MOTIONS = 160, 70, 40, 30
_SECONDS = 4
# The validation sets, by their names in the card's table, whose items the calibration sees, or some of them.
MEASURED_TOO = (
    "cartoons",
    "instrument drawings",
    "openmoji",
    "recordings",
    "sound bank",
    "depth, synthetic",
    "thermal, synthetic",
    "motion",
)


@dataclass(frozen=True, slots=True)
class CalibrationSample:
    """truth: the right names, empty where it has none. weight: its factor in the fit."""

    modality: Modality
    truth: tuple[str, ...]
    weight: float
    rows: Tensor


Perceive = Callable[[Modality, np.ndarray], Tensor]


def samples(encoder: MiniEncoder, packages: Path, thin: int = 1) -> list[CalibrationSample]:
    """Every sample, or every `thin`-th. Takes some minutes."""

    def perceived(modality: Modality, array: np.ndarray) -> Tensor:
        return encoder.rows(modality, [array])[0]

    concepts = load_concepts()
    items = [*_photos(packages), *_drawn(packages, concepts), *_heard(packages, concepts), *_moved(packages, concepts)]
    items += [*_maps(packages, concepts), *_written(concepts)]
    found = []
    for modality, truth, weight, given in items[::thin]:
        if modality not in encoder.recipes:
            continue
        array = load(encoder.recipes[modality], given, {}, Limits()) if isinstance(given, bytes) else given
        found.append(CalibrationSample(modality, truth, weight, perceived(modality, array)))
    return found


_Item = tuple[Modality, tuple[str, ...], float, bytes | np.ndarray]


def picture_rows(encoder: MiniEncoder, packages: Path, names: Sequence[str]) -> dict[str, Tensor]:
    """Rows of the pictures in the calibration's packages, by file name. Takes some minutes."""
    files, recipe = _files(packages), encoder.recipes[Modality.IMAGE]
    arrays = {name: load(recipe, files[name].read_bytes(), {}, Limits()) for name in names}
    return {name: encoder.rows(Modality.IMAGE, [array])[0] for name, array in arrays.items()}


def _files(packages: Path) -> dict[str, Path]:
    """By name; of several files of one name the first by path."""
    files: dict[str, Path] = {}
    for folder in _FOLDERS:
        for path in sorted((packages / folder).rglob("*")):
            files.setdefault(path.name, path)
    return files


def _photos(packages: Path) -> Iterator[_Item]:
    files = _files(packages)
    for name, said in tomllib.loads(PHOTOS.read_text()).items():
        truth = tuple(said.split("|")) if said else ()
        yield Modality.IMAGE, truth, 2.0, files[name].read_bytes()


def _drawn(packages: Path, concepts: Sequence[Concept]) -> Iterator[_Item]:
    sets = corpus.validation_sets(packages)
    for name, weight in (("cartoons", 1.0), ("instrument drawings", 0.5)):
        for picture in sets[name]:
            yield Modality.IMAGE, (concepts[picture.concept].name,), weight, picture_medium(picture)[1]
    for picture in (*_some(sets[held_out.STYLE], _ICONS), *_some(_unknown(packages), _ICONS)):
        known = picture.concept >= 0
        truth = concepts[picture.concept].name if known else picture.stem.replace("-", " ")
        yield Modality.IMAGE, (truth,), 0.5 if known else 0.25, picture_medium(picture)[1]


def _unknown(packages: Path) -> list[Picture]:
    return [one for one in icons(packages, load_concepts(), (held_out.STYLE,)) if one.concept < 0]


def _some(pictures: Sequence[Picture], n: int) -> list[Picture]:
    order = np.random.default_rng(0).permutation(len(pictures))[:n]
    return [pictures[int(index)] for index in order]


def _heard(packages: Path, concepts: tuple[Concept, ...]) -> Iterator[_Item]:
    for _, concept, data in real_recordings(packages, concepts):
        yield Modality.AUDIO, (concepts[concept].name,), 1.0, data
    # Needs the player of sound banks, which not every installation has.
    from recipes.panda_mini.data.sounds import unseen_bank

    for concept, wave in unseen_bank(packages, concepts, held_out.EACH // 2, held_out.SEED):
        yield Modality.AUDIO, (concepts[concept].name,), 1.0, held_out.wav(wave)
    rng = np.random.default_rng(0)
    for index in range(_SOUNDS):
        yield Modality.AUDIO, (), 1.0, _wave(_made_up(index % 3, rng))


def _made_up(kind: int, rng: np.random.Generator) -> np.ndarray:
    """White noise, a tone, or a rumble."""
    n = _SECONDS * RATE
    if kind == 0:
        return rng.normal(0, rng.uniform(0.01, 0.3), n)
    if kind == 1:
        return 0.3 * np.sin(2 * np.pi * rng.uniform(100, 3000) * np.arange(n) / RATE)
    walk = np.cumsum(rng.normal(0, 0.01, n))
    rumble: np.ndarray = 0.5 * walk / np.abs(walk).max()
    return rumble


def _wave(samples_: np.ndarray) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples_, RATE, format="WAV", subtype="PCM_16")
    return out.getvalue()


def _moved(packages: Path, concepts: tuple[Concept, ...]) -> Iterator[_Item]:
    for row, concept in zip(*recordings(packages, "TEST", concepts), strict=True):
        array = load("imu-v1", npy(row.astype(np.float32)), {"rate_hz": RATE_HZ}, Limits())
        yield Modality.IMU, (concepts[concept].name,), 1.0, array
    rng = np.random.default_rng(0)
    for index in range(_MOTIONS):
        noise = rng.normal(0, 1, (1, 6, 2000))
        made = noise * rng.uniform(0.1, 3) if index % 2 else np.cumsum(noise, axis=-1) * rng.uniform(0.001, 0.05)
        yield Modality.IMU, (), 1.0, made.astype(np.float32)


def _maps(packages: Path, concepts: tuple[Concept, ...]) -> Iterator[_Item]:
    known = [one for one in icons(packages, concepts, (held_out.STYLE,)) if one.concept >= 0]
    rng = np.random.default_rng(1)
    for kind, modality in (("depth", Modality.DEPTH), ("thermal", Modality.THERMAL)):
        for picture in (*_some(known, 2 * _MAPS), *_some(_unknown(packages), _MAPS)):
            parts = drawn_layers(picture)
            if parts is not None:
                concept = concepts[picture.concept if picture.concept >= 0 else int(rng.integers(len(concepts)))]
                truth = (concept.name,) if picture.concept >= 0 else ()
                yield modality, truth, 1.0, RELIEFS[kind](parts, concept, rng, 0.0)[None]


def _written(concepts: Sequence[Concept]) -> Iterator[_Item]:
    known = {concept.name for concept in concepts}
    for name in known:
        yield Modality.TEXT, (name,), 1.0, name.encode()
    for name in imagenet_names()[::4]:
        yield Modality.TEXT, (name.lower(),), 1.0, name.encode()
