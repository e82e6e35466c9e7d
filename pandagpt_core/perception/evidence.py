"""Evidence for a name that is asked for.

A thing that a question asks for is there about as often as not; a thing that is named unasked is one of hundreds. So an
asked name needs far less evidence. Each source that knows the name gives numbers, and a logistic regression for these
very sources, fitted on questions whose answer is as often yes as no, makes a probability of them:

concept    the best cosine to the recall's directions of the concepts that it is or covers, and how far that lies above
           the best one to all other concepts
class      of the ImageNet classes that it is, covers or stands beside the logit of their sum, and the logarithm of how
           much likelier they are than in pictures at large
detector   the logit of the best score of COCO's kinds that it is or covers, also below the detector's limit
shape      as concept, of what stands on a plain ground, each looked at by itself; no other source counts there, since
           classes and detector know photographs
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pandagpt_core.perception.asked import AskedNames, asked_names
from pandagpt_core.perception.empty_media import SENSES
from pandagpt_core.perception.languages import LANGUAGES, Language, language_of
from pandagpt_core.perception.perceive import Perceiver, probability
from pandagpt_core.perception.reading import NamedConcept
from pandagpt_core.perception.rows import CLASS_ROWS, LOOKED_AT, SCORES_AT, THINGS_AT, classes_of, things_of
from pandagpt_core.perception.table import EvidenceTable, NameTable
from pandagpt_core.types import Modality

Features = dict[str, tuple[float, ...]]  # by source
_LEAST_CLASS, _LEAST_SCORE = 1e-4, 1e-3  # of probabilities and scores; as much is left of 1
_PICTURES = (Modality.IMAGE, Modality.VIDEO)


@dataclass(frozen=True, slots=True)
class NameMembers:
    """Evidence for one name: indices of concepts, of ImageNet's classes and of COCO's kinds."""

    concepts: tuple[int, ...]
    classes: tuple[int, ...]
    things: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NameIndex:
    """By name or kind the concepts, classes and things of it; `class_names` by their names alone."""

    table: EvidenceTable
    concepts: Mapping[str, Sequence[int]]
    classes: Mapping[str, Sequence[int]]
    things: Mapping[str, Sequence[int]]
    class_names: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, names: NameTable, table: EvidenceTable) -> "NameIndex":
        concepts, classes, things = (_indexed(each, True) for each in (names.concepts, names.classes, names.things))
        return cls(table, concepts, classes, things, _indexed(names.classes, False))

    def members(self, name: str) -> NameMembers:
        covered = (name, *self.table.covers.get(name, ()))
        beside = _joined(self.class_names, self.table.beside.get(name, ()))
        classes = {*_joined(self.classes, covered), *beside}
        return NameMembers(_joined(self.concepts, covered), tuple(sorted(classes)), _joined(self.things, covered))


def _indexed(names: Sequence[NamedConcept], kinds: bool) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, one in enumerate(names):
        for word in (one.name, *(one.kinds if kinds else ())):
            found.setdefault(word, []).append(index)
    return found


def _joined(index: Mapping[str, Sequence[int]], words: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted({at for word in words for at in index.get(word, ())}))


@dataclass(frozen=True, slots=True)
class EvidenceReader:
    perceiver: Perceiver
    table: EvidenceTable
    index: NameIndex = field(init=False)
    vocabularies: Mapping[str, Mapping[str, str]] = field(init=False)
    usual: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", NameIndex.of(self.perceiver.table, self.table))
        object.__setattr__(self, "usual", torch.tensor(self.table.usual))
        found = {code: vocabulary(self.perceiver.table, self.table, each) for code, each in LANGUAGES.items()}
        object.__setattr__(self, "vocabularies", found)

    def asked(self, question: str) -> AskedNames:
        language = language_of(question)
        return asked_names(question, language, self.vocabularies[language.code])

    def found(self, modality: Modality, rows: Tensor, asked: AskedNames) -> tuple[tuple[str, float], ...]:
        """Each name that is asked of the medium, with the probability that it is there."""
        return tuple((name, self.probability(modality, rows, name)) for name in asked.of(SENSES[modality]))

    def probability(self, modality: Modality, rows: Tensor, name: str) -> float:
        """Probability, 0 to 1, that the medium has the thing of that name; 0 where no source knows the name."""
        found = self.features(rows, name)
        regressions = self.table.regressions.get(Modality.IMAGE if modality in _PICTURES else modality, {})
        regression = regressions.get("+".join(found))
        numbers = [number for each in found.values() for number in each]
        return 0.0 if regression is None else probability(regression, numbers)

    def features(self, rows: Tensor, name: str) -> Features:
        """rows [n, E] as `perception.rows` lays them out, or the embedding alone."""
        members, shapes = self.index.members(name), _shapes(rows)
        if shapes is not None:
            return {"shape": self._cosines(shapes, members)} if members.concepts else {}
        return {source: numbers(self, rows, members) for source, numbers in _sources(rows, members)}

    def concept(self, rows: Tensor, members: NameMembers) -> tuple[float, ...]:
        return self._cosines(rows[:1], members)

    def classes(self, rows: Tensor, members: NameMembers) -> tuple[float, ...]:
        at = list(members.classes)
        seen = float(classes_of(rows, len(self.usual))[at].sum())
        usual = float(self.usual[at].sum())
        return _logit(seen, _LEAST_CLASS), math.log((seen + _LEAST_CLASS) / (usual + _LEAST_CLASS))

    def detector(self, rows: Tensor, members: NameMembers) -> tuple[float, ...]:
        return (_logit(float(rows[SCORES_AT, list(members.things)].max()), _LEAST_SCORE),)

    def _cosines(self, units: Tensor, members: NameMembers) -> tuple[float, ...]:
        """units: [n, E]; of the one that is nearest to the name, compared with the other names."""
        directions = self.perceiver.recall.directions
        cosines = normalize(units.to(directions), dim=-1) @ directions.T  # [n, concepts]
        own = cosines[:, list(members.concepts)].amax(dim=1)
        others = cosines.index_fill(1, torch.tensor(members.concepts), -1.0).amax(dim=1)
        return float(own.max()), float((own - others).max())


_Numbers = Callable[[EvidenceReader, Tensor, NameMembers], tuple[float, ...]]


def _shapes(rows: Tensor) -> Tensor | None:
    """[n, E]: the embeddings of what stands on a plain ground, or the picture's for one large thing; None elsewhere."""
    if len(rows) <= THINGS_AT:
        return None
    count = sum(thing.kind < 0 for thing in things_of(rows[THINGS_AT]))
    looked = rows[LOOKED_AT : LOOKED_AT + count]
    return None if not count else looked if bool(looked.any()) else rows[:1]


def _sources(rows: Tensor, members: NameMembers) -> Iterator[tuple[str, _Numbers]]:
    """The sources that know the name and that the rows hold."""
    if members.concepts:
        yield "concept", EvidenceReader.concept
    if len(rows) >= CLASS_ROWS.stop and members.classes:
        yield "class", EvidenceReader.classes
    if len(rows) > SCORES_AT and members.things and bool(rows[SCORES_AT].any()):
        yield "detector", EvidenceReader.detector


def _logit(p: float, least: float) -> float:
    p = min(max(p, least), 1 - least)
    return math.log(p / (1 - p))


def vocabulary(names: NameTable, table: EvidenceTable, language: Language) -> dict[str, str]:
    """Every name that can be asked for, by its words in the language; a word of two names is the wider known one's."""
    every = [one for part in (names.classes, names.things, names.concepts) for one in part]
    english = dict.fromkeys([*(one.name for one in every), *(kind for one in every for kind in one.kinds)])
    english |= dict.fromkeys([*table.covers, *table.beside])
    if language.code == "en":
        return {**{name.lower(): name for name in english}, **table.words}
    return {language.bare(name).lower(): name for name in english if name in language.names or name in language.words}
