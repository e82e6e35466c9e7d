"""Probability of an asked name: a logistic regression for every set of sources that may know it.

Pictures are asked about every name of `present.toml`, which says what is in each; drawings, sounds, maps and motions
about the names of the others. Present and absent names count alike. Of what is not there one half is near: of a kind of
which something is there, a cat for a dog. Frequent names count less than their number.
"""

import math
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from pathlib import Path

import torch
from torch import Tensor

from pandagpt_core.fusion import PrototypeRetrieval
from pandagpt_core.perception.evidence import EvidenceReader, Features
from pandagpt_core.perception.perceive import Perceiver
from pandagpt_core.perception.rows import classes_of
from pandagpt_core.perception.table import EvidenceTable, Logistic, NameTable
from pandagpt_core.types import Modality
from recipes.panda_mini.asked_words import BESIDE, COVERS, WORDS
from recipes.panda_mini.calibration.fit import logistic
from recipes.panda_mini.calibration.samples import CalibrationSample

PRESENT = Path(__file__).with_name("present.toml")
AskedRow = tuple[list[float], bool, float]  # numbers, whether it is there, how much it counts
SOURCES = ("concept", "class", "detector")
_SETS = (*(few for n in range(1, len(SOURCES) + 1) for few in combinations(SOURCES, n)), ("shape",))
_EVERY = 5
_FALSE = 0.05  # of what is not there, that may reach a half
_LABELLED = frozenset(
    [
        "animal",
        "vehicle",
        "fruit",
        "vegetable",
        "food",
        "musical instrument",
        "bird",
        "insect",
        "flower",
        "drink",
        "clothing",
    ]
)
_PHOTOGRAPH = 1.0  # samples that count for more than a drawing are of `present.toml`


@dataclass(frozen=True, slots=True)
class AskedSample:
    """An asked name of a medium: each source's numbers, whether it is there, and else whether its kind is."""

    name: str
    there: bool
    near: bool
    features: Features


def present() -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """By file name: names of things in the picture, and names that may or may not be right."""
    found = {}
    for file, said in tomllib.loads(PRESENT.read_text()).items():
        names = said.split("|") if said else []
        maybe = {name[1:] for name in names if name.startswith("?")}
        found[file] = frozenset(name for name in names if not name.startswith("?")), frozenset(maybe)
    return found


def evidence_table(
    names: NameTable,
    recall: PrototypeRetrieval,
    pictures: Mapping[str, Tensor],
    others: Sequence[CalibrationSample],
) -> EvidenceTable:
    """pictures: the rows of each file of `present.toml`. others: media of one name each."""
    usual = torch.stack([classes_of(rows).float().cpu() for rows in pictures.values()]).mean(dim=0)
    table = EvidenceTable(dict(WORDS), dict(COVERS), dict(BESIDE), tuple(round(float(p), 7) for p in usual), {})
    reader = EvidenceReader(Perceiver(names, recall), table)
    single = [one for one in others if one.weight <= _PHOTOGRAPH and one.truth]
    regressions = {}
    for modality in sorted({one.modality for one in single}):
        asked = list(_asked_of_single(reader, [one for one in single if one.modality == modality]))
        if modality == Modality.IMAGE:
            asked = [*asked_of_pictures(reader, pictures), *(one for one in asked if "shape" in one.features)]
        regressions[modality] = dict(_regressions(asked))
    return EvidenceTable(table.words, table.covers, table.beside, table.usual, regressions)


def asked_of_pictures(reader: EvidenceReader, pictures: Mapping[str, Tensor]) -> Iterator[AskedSample]:
    known = {file: each for file, each in present().items() if file in pictures}
    vocabulary = sorted({name for there, _ in known.values() for name in there})
    kinds = _kinds(reader.perceiver.table)
    for file, (there, maybe) in known.items():
        near = {name for name in _near(there, kinds) if name not in maybe}
        for name in sorted({*vocabulary, *near} - maybe):
            yield AskedSample(name, name in there, name in near, reader.features(pictures[file], name))


def _asked_of_single(reader: EvidenceReader, samples: Sequence[CalibrationSample]) -> Iterator[AskedSample]:
    """Each about its own name and kinds, about those near to it, and about every fifth of the others."""
    kinds = _kinds(reader.perceiver.table)
    vocabulary = sorted({name for one in samples for truth in one.truth for name in (truth, *kinds.get(truth, ()))})
    for at, one in enumerate(samples):
        there = {name for truth in one.truth for name in (truth, *kinds.get(truth, ()))}
        near = _near(there, kinds)
        for index, name in enumerate(vocabulary):
            if name in there or (index + at) % _EVERY == 0:
                yield AskedSample(name, name in there, name in near, reader.features(one.rows, name))


def _kinds(table: NameTable) -> dict[str, tuple[str, ...]]:
    return {one.name: one.kinds for part in (table.things, table.concepts) for one in part}


def _near(there: Iterable[str], kinds: Mapping[str, Sequence[str]]) -> set[str]:
    """Names of a kind that is there, and of which all that is there is labelled; not those that are there."""
    there = set(there)
    found = (there | {kind for name in there for kind in kinds.get(name, ())}) & _LABELLED
    return {name for name, of in kinds.items() if found.intersection(of)} - there


def _regressions(asked: Sequence[AskedSample]) -> Iterator[tuple[str, Logistic]]:
    """By sources: of all samples that have these or more of them."""
    for sources in _SETS:
        having = [one for one in asked if set(sources) <= one.features.keys()]
        numbers = [[x for source in sources for x in one.features[source]] for one in having]
        rows = [(x, one.there, weight) for x, one, weight in zip(numbers, having, balanced(having), strict=True)]
        found = logistic(rows)
        if found is not None:
            yield "+".join(sources), cautious(found, rows)


def cautious(fitted: Logistic, rows: Sequence[AskedRow]) -> Logistic:
    """With a lower bias, where more than `_FALSE` of what is not there would reach a half."""
    absent = sorted(((_score(fitted, numbers), weight) for numbers, there, weight in rows if not there), reverse=True)
    allowed = _FALSE * sum(weight for _, weight in absent)
    passed = accumulate(weight for _, weight in absent)
    limit = next(score for (score, _), weight in zip(absent, passed, strict=True) if weight > allowed)
    return Logistic(round(fitted.bias - max(0.0, limit), 5), fitted.weights)


def _score(fitted: Logistic, numbers: Sequence[float]) -> float:
    return fitted.bias + sum(weight * number for weight, number in zip(fitted.weights, numbers, strict=True))


def balanced(asked: Sequence[AskedSample]) -> list[float]:
    """The weight of each sample; they sum to their number."""
    often = Counter(one.name for one in asked if one.there)
    raw = [1 / math.sqrt(often[one.name]) if one.there else math.sqrt(max(1, often[one.name])) for one in asked]
    groups = [(one.there, one.near) for one in asked]
    totals = {
        group: sum(w for w, other in zip(raw, groups, strict=True) if other == group) for group in dict.fromkeys(groups)
    }
    kinds = Counter(there for there, _ in totals)
    return [
        len(asked) / 2 * weight / (totals[group] * kinds[group[0]]) for weight, group in zip(raw, groups, strict=True)
    ]
