"""Several media at once: is each named, is each found by itself, and is a contradiction noticed.

PandaGPT's authors name composition as what no benchmark measures (Su et al. 2023, section 5). A line of the file is one
set of media, by our own format:

    {"media": [{"modality": "image", "file": "dog.png"}, {"modality": "audio", "file": "trumpet.flac"}],
     "names": [["dog", "puppy"], ["trumpet"]]}

A medium may have `params`. `names` has what is right of each, the first being its name. Media with one name are alike.
Of each set as many questions are asked as it has media, and two more.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from pandagpt_core.training.evaluation.benchmarks.base import Figure, Files, Question, entry, read_lines
from pandagpt_core.training.evaluation.benchmarks.pope import is_yes
from pandagpt_core.training.evaluation.manifest import MediumEntry
from pandagpt_core.training.evaluation.measures import first_named, rate
from pandagpt_core.types import Modality

EVERY = "What are these? Name each of them."
SAME = "Are they the same thing? Answer yes or no."
ONE: Mapping[Modality, str] = MappingProxyType(
    {
        Modality.IMAGE: "What do you see in the picture?",
        Modality.VIDEO: "What do you see in the video?",
        Modality.AUDIO: "What do you hear in the sound?",
        Modality.DEPTH: "What do you see in the depth map?",
        Modality.THERMAL: "What do you see in the thermal picture?",
        Modality.IMU: "What is being done in the motion recording?",
        Modality.TEXT: "What is the text about?",
        Modality.POINTS: "What is the point cloud of?",
    }
)
SIZES = {2: "pairs", 3: "triples"}


@dataclass(frozen=True, slots=True)
class ExpectedNames:
    """kind: "every", "one" or "same". names: of each medium. at: the medium that "one" is about."""

    kind: str
    names: tuple[tuple[str, ...], ...]
    at: int = 0

    @property
    def alike(self) -> bool:
        return len({names[0] for names in self.names}) == 1

    def right(self, answer: str) -> bool:
        return _RIGHT[self.kind](self, answer)


def read_composition(files: Files) -> list[Question]:
    questions: list[Question] = []
    for at, one in enumerate(read_lines(files.annotations), 1):
        questions += [entry(files.annotations, at, each, _question) for each in _asked(one)]
    return questions


def score_composition(questions: Sequence[Question], answers: Sequence[str]) -> Mapping[str, Figure]:
    """Shares of right answers, of media alike and unlike, of pairs and triples."""
    hits: dict[str, list[bool]] = {}
    for question, answer in zip(questions, answers, strict=True):
        for name in _figures(question):
            hits.setdefault(name, []).append(question.truth.right(answer))
    return {name: rate(each) for name, each in hits.items()}


def _asked(one: Any) -> Iterator[dict[str, Any]]:
    """The line again, once for each question. Its errors show when the first is read."""
    yield {"line": one, "kind": "every"}
    for at in range(len(one["media"]) if isinstance(one, dict) and "media" in one else 0):
        yield {"line": one, "kind": "one", "at": at}
    yield {"line": one, "kind": "same"}


def _question(one: Mapping[str, Any]) -> Question:
    line, kind, at = one["line"], one["kind"], one.get("at", 0)
    media = msgspec.convert(line["media"], tuple[MediumEntry, ...])
    names = tuple(tuple(map(str, each)) for each in line["names"])
    if len(names) != len(media) or len(media) < 2 or not all(names):
        raise ValueError(f"it has {len(media)} media and names for {len(names)}; it needs two or more of both")
    prompts = {"every": EVERY, "one": ONE[media[at].modality], "same": SAME}
    return Question("", prompts[kind], ExpectedNames(kind, names, at), media)


def _figures(question: Question) -> Iterator[str]:
    """Names of the figures that a question counts in."""
    wanted: ExpectedNames = question.truth
    alike = "alike" if wanted.alike else "unlike"
    if wanted.kind == "one":
        yield f"the {question.media[wanted.at].modality} named as asked, {alike}"
    elif wanted.kind == "same":
        yield "same thing: yes" if wanted.alike else "contradiction noticed: no"
    else:
        yield f"each named, {alike}, {SIZES.get(len(wanted.names), 'more')}"


def _every(wanted: ExpectedNames, answer: str) -> bool:
    return all(first_named(answer, names) is not None for names in wanted.names)


def _one(wanted: ExpectedNames, answer: str) -> bool:
    """Of all names of the set, the first that the answer names is of the medium in question."""
    every = [name for names in wanted.names for name in names]
    return first_named(answer, every) in wanted.names[wanted.at]


def _same(wanted: ExpectedNames, answer: str) -> bool:
    return is_yes(answer) == wanted.alike


_RIGHT = {"every": _every, "one": _one, "same": _same}
