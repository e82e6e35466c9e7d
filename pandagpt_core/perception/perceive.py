"""From a medium's rows to its `Reading`: name, probability, colours, things and their places."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pandagpt_core.fusion import PrototypeRetrieval
from pandagpt_core.perception.appearance import GROUND_COLOUR, SECOND_COLOUR, placed, shades
from pandagpt_core.perception.empty_media import SENSES, void_of
from pandagpt_core.perception.reading import NamedConcept, Reading, Sense, Thing
from pandagpt_core.perception.rows import LOOKED_AT, THINGS_AT, Measures, ThingRow, classes_of, things_of
from pandagpt_core.perception.table import Logistic, NameTable
from pandagpt_core.types import Modality

_CANDIDATES = 2
_UNMEASURED = Measures(spread=math.inf, slope=math.inf)
_ANIMAL = "animal"  # of which the classes know hundreds; of people they know three
_ALONE = 0.35  # of a detection's confidence, where ImageNet's classes do not bear it out
_REFINES = 0.6  # of a wider name's confidence that a narrower one gains
_POSSIBLE = 0.2  # confidence that a narrower name must have of its own for that
SUBJECT_AREA = 0.08  # of a detected thing that may be what the picture is of


@dataclass(frozen=True, slots=True)
class PerceptionCandidate:
    named: NamedConcept
    confidence: float


@dataclass(frozen=True, slots=True)
class ClassIndex:
    """A table's columns for ImageNet's classes, as tensors that are made once.

    concept_of: [classes] the concept of each, -1 for none. covering: for each detected kind that is an animal, which
    classes [classes] are it; a kind that no class is has no entry.
    """

    concept_of: Tensor
    covering: Mapping[int, Tensor]

    @classmethod
    def of(cls, table: NameTable) -> "ClassIndex":
        animals = {at: thing.name for at, thing in enumerate(table.things) if _ANIMAL in thing.kinds}
        covering = {
            at: torch.tensor([name == one.name or name in one.kinds for one in table.classes])
            for at, name in animals.items()
        }
        found = {at: classes for at, classes in covering.items() if bool(classes.any())}
        return cls(torch.tensor(table.concept_of), found)


@dataclass(frozen=True, slots=True)
class Perceiver:
    """table: names and calibration. recall: the directions of the concepts, in the table's order."""

    table: NameTable
    recall: PrototypeRetrieval
    index: ClassIndex = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", ClassIndex.of(self.table))

    def read(self, modality: Modality, rows: Tensor) -> Reading:
        """rows [n, E] as `perception.rows` lays them out; without more than the embedding, it alone is read."""
        sense = SENSES[modality]
        measures = Measures.of(rows[1]) if len(rows) > 1 else _UNMEASURED
        colours, ground = shades(measures.main, SECOND_COLOUR), shades(measures.ground, GROUND_COLOUR)
        void = void_of(modality, measures)
        if void:
            return Reading(sense, void=void, colours=colours if void == "blank" else ())
        shares = self.recall.shares(rows[:1].to(self.recall.directions))[0]
        candidates = self.candidates(modality, rows, shares)
        things = self._things(rows, candidates) if modality == Modality.IMAGE and len(rows) > THINGS_AT else ()
        looks = (colours, ground) if sense in ("picture", "video") else ((), ())
        return self._reading(sense, candidates, self._kind(modality, rows, shares), looks, things)

    def candidates(self, modality: Modality, rows: Tensor, shares: Tensor) -> list[PerceptionCandidate]:
        """The names that it may have, the likeliest first; one name once, its evidence added up.

        shares: [concepts] of the recall for the embedding `rows[0]`.
        """
        detailed = modality == Modality.IMAGE and len(rows) > THINGS_AT
        shapes = self._shapes(rows) if detailed else []
        if len(shapes) > 1:  # of several things the whole's embedding is a muddle
            return _merged(shapes[:1])
        found = self._concepts(modality, rows, shares)
        if detailed:
            found += [*self._classes(rows), *self._subjects(rows), *shapes]
        return _merged(found)

    def _concepts(self, modality: Modality, rows: Tensor, shares: Tensor) -> list[PerceptionCandidate]:
        plain = modality == Modality.IMAGE and len(rows) <= THINGS_AT  # a picture of which its embedding alone is known
        calibration = self.table.concept.get(Modality.VIDEO if plain else modality)
        if calibration is None:
            return []
        values, order = shares.topk(_CANDIDATES)
        features = self.concept_features(modality, rows, shares)
        first, second = (self.table.concepts[int(index)] for index in order)
        confidence = probability(calibration, features)
        rest = (1 - confidence) * float(values[1]) * 0.8
        return [PerceptionCandidate(first, confidence), PerceptionCandidate(second, rest)]

    def concept_features(self, modality: Modality, rows: Tensor, shares: Tensor) -> list[float]:
        """The features of `NameTable.concept`."""
        unit = normalize(rows[0].to(self.recall.directions), dim=-1)
        values, order = shares.topk(2)
        best = float(unit @ self.recall.directions[order[0]])
        features = [best, float(values[0]), float(values[1])]
        if modality == Modality.IMAGE and len(rows) > THINGS_AT:
            classes = self._classes_of(rows)
            mapped = self.index.concept_of == int(order[0])
            features += [float(classes[mapped].sum()), float(classes[~mapped].max())]
        return features

    def class_features(self, rows: Tensor) -> tuple[int, list[float]]:
        classes = self._classes_of(rows)
        best = int(classes.argmax())
        p = min(max(float(classes[best]), 1e-4), 1 - 1e-4)
        unit = normalize(rows[0].to(self.recall.directions), dim=-1)
        return best, [math.log(p / (1 - p)), float((self.recall.directions @ unit).max())]

    def _classes_of(self, rows: Tensor) -> Tensor:
        return classes_of(rows, len(self.table.classes))

    def _classes(self, rows: Tensor) -> list[PerceptionCandidate]:
        """ImageNet's best class, where it is none of the concepts."""
        best, features = self.class_features(rows)
        if self.table.concept_of[best] >= 0:
            return []
        return [PerceptionCandidate(self.table.classes[best], probability(self.table.named, features))]

    def _subjects(self, rows: Tensor) -> list[PerceptionCandidate]:
        """The largest detected thing, where it takes up enough of the picture to be what it is of."""
        found = [thing for thing in things_of(rows[THINGS_AT]) if thing.kind >= 0 and thing.area > SUBJECT_AREA]
        if not found:
            return []
        largest = max(found, key=lambda thing: thing.score * math.sqrt(thing.area))
        confidence = probability(self.table.thing, [largest.score, largest.area])
        return [PerceptionCandidate(self.table.things[largest.kind], confidence * self._agreement(largest.kind, rows))]

    def _agreement(self, kind: int, rows: Tensor) -> float:
        """Share, 0 to 1, by which ImageNet's classes confirm a detected kind: the detector knows only 10 animals."""
        covering = self.index.covering.get(kind)
        return 1.0 if covering is None else min(1.0, _ALONE + float(self._classes_of(rows)[covering].sum()))

    def _shapes(self, rows: Tensor) -> list[PerceptionCandidate]:
        """Shapes on a plain ground, the largest first."""
        return [self._shape(rows[LOOKED_AT + at]) for at, _ in enumerate(self.looked(rows))]

    def looked(self, rows: Tensor) -> list[ThingRow]:
        shapes = [thing for thing in things_of(rows[THINGS_AT]) if thing.kind < 0]
        return shapes if shapes and bool(rows[LOOKED_AT].any()) else []

    def _shape(self, row: Tensor) -> PerceptionCandidate:
        shares, features = self.shape_features(row)
        return PerceptionCandidate(self.table.concepts[int(shares.argmax())], probability(self.table.shape, features))

    def shape_features(self, row: Tensor) -> tuple[Tensor, list[float]]:
        row = row.to(self.recall.directions)
        shares = self.recall.shares(row[None])[0]
        values, order = shares.topk(2)
        return shares, [float(normalize(row, dim=-1) @ self.recall.directions[order[0]]), *values.tolist()]

    def _kind(self, modality: Modality, rows: Tensor, shares: Tensor) -> str:
        """The medium's kind, which may be sure where its name is not: the one that concept and classes give most."""
        given = _by_kind(self.table.concepts, shares, self.table.kinds)
        if modality == Modality.IMAGE and len(rows) > THINGS_AT:
            given = _by_kind(self.table.classes, self._classes_of(rows), self.table.kinds)
        best = max(given, key=lambda kind: given[kind])
        return best if given[best] >= self.table.kind else ""

    def _things(self, rows: Tensor, candidates: Sequence[PerceptionCandidate]) -> tuple[Thing, ...]:
        """Shapes by their own names, or what was detected surely enough; else the subject alone, where it is sure."""
        shapes = self.looked(rows)
        if shapes:
            return placed(shapes, [self._shape_name(rows[LOOKED_AT + at]) for at in range(len(shapes))])
        found = [thing for thing in things_of(rows[THINGS_AT]) if thing.kind >= 0 and self._detected_name(thing, rows)]
        subject = candidates[0] if candidates and candidates[0].confidence >= self.table.sure else None
        names = [self._detected_name(thing, rows) for thing in found]
        if subject is not None and subject.named.name not in names:
            names, found = self._with_subject(subject, names, found, rows)
        return placed(found, names)

    def _detected_name(self, thing: ThingRow, rows: Tensor) -> str:
        """The thing's name, or its sort for a large thing that ImageNet's classes do not confirm; "" where unsure."""
        if thing.score < self.table.seen:
            return ""
        named = self.table.things[thing.kind]
        if thing.area < SUBJECT_AREA:
            return named.name
        confidence = probability(self.table.thing, [thing.score, thing.area]) * self._agreement(thing.kind, rows)
        if confidence >= self.table.seen:
            return named.name
        return named.kinds[-1] if named.kinds else ""

    def _shape_name(self, row: Tensor) -> str:
        shape = self._shape(row)
        return shape.named.name if shape.confidence >= self.table.shape_seen else "thing"

    def _with_subject(
        self, subject: PerceptionCandidate, names: list[str], found: list[ThingRow], rows: Tensor
    ) -> tuple[list[str], list[ThingRow]]:
        """A detected thing as large as a subject is it, by a better name; one that stands alone is in the middle."""
        large = [at for at, thing in enumerate(found) if thing.area > SUBJECT_AREA]
        related = {*subject.named.kinds}
        for at in large:
            if names[at] != "person" or "person" in related:
                same = names[at]
                return [subject.named.name if name == same else name for name in names], found
        single = [thing for thing in things_of(rows[THINGS_AT]) if thing.kind < 0]
        colours = Measures.of(rows[1]).main
        whole = single[0] if single else ThingRow(1.0, -1, 0.2, 0.2, 0.8, 0.8, colours)
        return [subject.named.name, *names], [whole, *found]

    def _reading(
        self,
        sense: Sense,
        candidates: Sequence[PerceptionCandidate],
        kind: str,
        looks: tuple[tuple[str, ...], tuple[str, ...]],
        things: tuple[Thing, ...],
    ) -> Reading:
        if not candidates:
            return Reading(sense, colours=looks[0], ground=looks[1], things=things, confidence=0.0)
        best = candidates[0]
        sure = best.confidence >= self.table.sure
        kind = "" if sure else kind
        possible = [one for one in candidates if kind in one.named.kinds] if kind else candidates
        names = (best.named,) if sure else tuple(one.named for one in (possible or candidates)[:_CANDIDATES])
        colours = things[0].colours if sure and things and things[0].name == best.named.name else looks[0]
        return Reading(sense, names, sure, kind, "", colours, looks[1], things, best.confidence)


def _merged(found: Sequence[PerceptionCandidate]) -> list[PerceptionCandidate]:
    """One name once, its evidence added up, the likeliest first; a name gains by a wider one that it is a kind of."""
    merged: dict[str, PerceptionCandidate] = {}
    for one in found:
        merged[one.named.name] = _joined(merged.get(one.named.name), one.named, one.confidence)
    for one in list(merged.values()):
        wider = [merged[kind].confidence for kind in one.named.kinds if kind in merged]
        if wider and one.confidence >= _POSSIBLE:
            merged[one.named.name] = _joined(one, one.named, max(_REFINES * max(wider), max(wider) - one.confidence))
    return sorted(merged.values(), key=lambda one: -one.confidence)


def _joined(known: PerceptionCandidate | None, named: NamedConcept, confidence: float) -> PerceptionCandidate:
    doubt = (1 - confidence) * (1 - known.confidence if known else 1)
    return PerceptionCandidate(named, 1 - doubt)


def probability(calibration: Logistic, features: Sequence[float]) -> float:
    total = calibration.bias + sum(w * x for w, x in zip(calibration.weights, features, strict=True))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


def _by_kind(names: Sequence[NamedConcept], shares: Tensor, kinds: Sequence[str]) -> dict[str, float]:
    given = dict.fromkeys(kinds, 0.0)
    for named, share in zip(names, shares.tolist(), strict=True):
        for kind in named.kinds:
            if kind in given:
                given[kind] += share
    return given
