"""A test of a converted folder: its answers must name the subjects of a known picture and a known sound."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pandagpt_core.training.evaluation.answerer import Answerer, Asked, Held
from pandagpt_core.types import Modality
from service.settings import SettingsError

QUESTION, TOKENS = "What is this?", 64
KNOWN = ((Modality.IMAGE, "dog.png", "dog"), (Modality.AUDIO, "dog.flac", "dog"))  # of the samples, with their subject


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """One medium of the test, the answer, and whether the subject is named in it."""

    file: str
    answer: str
    passed: bool


def known_media(samples: Path) -> None:
    """Raises SettingsError where the samples are not there."""
    absent = [name for _, name, _ in KNOWN if not (samples / name).is_file()]
    if absent:
        raise SettingsError(f"--self-test needs {' and '.join(absent)} in {samples}: name their folder with --samples")


def self_test(model: Answerer, samples: Path) -> Iterator[KnownAnswer]:
    """Each of the known media that the model has a tower for."""
    for modality, name, subject in KNOWN:
        if modality in model.modalities:
            held = Held(modality, (samples / name).read_bytes(), name=name)
            answer = model.answer([Asked(QUESTION, (held,))], TOKENS)[0].strip()
            yield KnownAnswer(name, answer, subject in answer.lower())
