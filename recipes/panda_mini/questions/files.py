"""The media of the questions: photographs of packages, held to their digests, scenes, samples and tones."""

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soundfile

from pandagpt_core.media.sound.filterbank import RATE
from pandagpt_core.training.evaluation.answerer import Held
from pandagpt_core.types import Modality
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.media import validation_photos
from recipes.panda_mini.questions.scenes import drawn

DIGESTS = Path(__file__).with_name("photos.sha256")
_SECONDS = 4


class QuestionFiles:
    """Media by the references of `questions.toml`. packages: where the recipe's packages lie unpacked."""

    def __init__(self, packages: Path, samples: Path = Path("samples")) -> None:
        self._packages, self._samples = packages, samples
        self._digests = read_digests()
        photos = validation_photos(packages, load_concepts())
        self._photos = {f"{p.source.removeprefix('gcompris/')}/{p.stem}": p.data for p in photos}

    def held(self, reference: str) -> Held:
        """Raises ValueError for a photograph that is not the one that was looked at."""
        prefix, _, name = reference.rpartition(":")
        return _PREFIXES[prefix](self, name)

    def photograph(self, name: str) -> Held:
        data = (self._packages / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != self._digests.get(name):
            raise ValueError(f"{name} is not the photograph that the questions were written for")
        return Held(Modality.IMAGE, data, name=name)

    def gcompris(self, name: str) -> Held:
        return Held(Modality.IMAGE, self._photos[name], name=name)

    def scene(self, name: str) -> Held:
        out = io.BytesIO()
        drawn(self._packages, name).save(out, "PNG")
        return Held(Modality.IMAGE, out.getvalue(), name=name)

    def sample(self, name: str) -> Held:
        return Held(Modality.AUDIO, (self._samples / name).read_bytes(), name=name)

    def tone(self, name: str) -> Held:
        out = io.BytesIO()
        soundfile.write(out, TONES[name](), RATE, format="WAV", subtype="PCM_16")
        return Held(Modality.AUDIO, out.getvalue(), name=name)


_PREFIXES: Mapping[str, Callable[[QuestionFiles, str], Held]] = {
    "": QuestionFiles.photograph,
    "gcompris": QuestionFiles.gcompris,
    "scene": QuestionFiles.scene,
    "sample": QuestionFiles.sample,
    "tone": QuestionFiles.tone,
}
TONES: Mapping[str, Callable[[], np.ndarray]] = {
    "silence": lambda: np.zeros(_SECONDS * RATE),
    "noise": lambda: np.random.default_rng(3).normal(0, 0.1, _SECONDS * RATE),
    "sine": lambda: 0.3 * np.sin(2 * np.pi * 880 * np.arange(_SECONDS * RATE) / RATE),
}


def read_digests() -> dict[str, str]:
    """SHA-256 by the file's path below the packages."""
    pairs = (line.split("  ", 1) for line in DIGESTS.read_text().splitlines())
    return {name: digest for digest, name in pairs}
