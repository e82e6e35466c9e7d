"""From samples to the folder's table of names: a logistic regression for each thing that may be sure or not."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pandagpt_core.fusion import PrototypeRetrieval
from pandagpt_core.perception.perceive import SUBJECT_AREA, Perceiver
from pandagpt_core.perception.rows import LOOKED_AT, THINGS_AT, things_of
from pandagpt_core.perception.table import Logistic, NameTable
from pandagpt_core.types import Modality
from recipes.panda_mini.calibration.samples import CalibrationSample
from recipes.panda_mini.concepts import load_concepts, load_imagenet
from recipes.panda_mini.space.embedding_space import imagenet_names
from recipes.panda_mini.vocabulary import named_classes, named_concept, named_things

_FEATURES = {Modality.IMAGE: 5}
_OTHER_FEATURES = 3
_STRENGTH = 0.02  # of the ridge on standardised weights
_KINDS = ("animal", "building", "vehicle", "plant", "food", "musical instrument", "landscape", "insect")
_FEW = 8  # samples, of which no regression is made
_Row = tuple[list[float], bool, float]  # features, whether the name is right, how much it counts


def name_table(samples: Sequence[CalibrationSample], directions: Tensor, sharpness: float) -> NameTable:
    """directions [C, E] and sharpness: of the recall."""
    blank = _uncalibrated()
    recall = PrototypeRetrieval(directions, sharpness)
    perceiver = Perceiver(blank, recall)
    pictures = [one for one in samples if one.modality == Modality.IMAGE]
    modalities = sorted({one.modality for one in samples})
    concept = {m: logistic(_concepts(perceiver, [s for s in samples if s.modality == m])) for m in modalities}
    frames = [replace(one, modality=Modality.VIDEO, rows=one.rows[:1]) for one in pictures]  # films of still pictures
    concept[Modality.VIDEO] = logistic(_concepts(perceiver, frames))
    return NameTable(
        concepts=blank.concepts,
        classes=blank.classes,
        concept_of=blank.concept_of,
        things=blank.things,
        concept={m: found for m, found in concept.items() if found is not None},
        named=logistic(_classes(perceiver, pictures)) or blank.named,
        thing=logistic(_things(perceiver, pictures)) or blank.thing,
        shape=logistic(_shapes(perceiver, pictures)) or blank.shape,
        kinds=_KINDS,
        kind=0.5,
    )


def logistic(rows: Iterable[_Row]) -> Logistic | None:
    """By Newton's method on standardised features, ridge on the weights; None for too few or all alike."""
    found = list(rows)
    if len(found) < _FEW or len({right for _, right, _ in found}) < 2:
        return None
    features = torch.tensor([x for x, _, _ in found], dtype=torch.float64)
    right = torch.tensor([float(y) for _, y, _ in found], dtype=torch.float64)
    counts = torch.tensor([w for _, _, w in found], dtype=torch.float64)
    mean, spread = features.mean(dim=0), features.std(dim=0) + 1e-6
    x = torch.cat(((features - mean) / spread, torch.ones(len(found), 1, dtype=torch.float64)), dim=1)
    ridge = 2 * _STRENGTH * len(found) * torch.eye(x.shape[1], dtype=torch.float64)
    ridge[-1, -1] = 1e-6
    theta = torch.zeros(x.shape[1], dtype=torch.float64)
    for _ in range(50):
        p = torch.sigmoid(x @ theta)
        gradient = x.T @ (counts * (p - right)) + ridge @ theta
        hessian = x.T @ (x * (counts * p * (1 - p))[:, None]) + ridge
        theta = theta - torch.linalg.solve(hessian, gradient)
    weights = theta[:-1] / spread
    return Logistic(float(theta[-1] - weights @ mean), tuple(round(float(w), 5) for w in weights))


def _nothing(features: int) -> Logistic:
    """The regression where nothing was fitted: a small probability for all features."""
    return Logistic(-3.0, (0.0,) * features)


def _uncalibrated() -> NameTable:
    concepts = load_concepts()
    index = {concept.name: at for at, concept in enumerate(concepts)}
    concept_of = [-1] * len(imagenet_names())
    for name, classes in load_imagenet().items():
        for at in classes:
            concept_of[at] = index[name]
    return NameTable(
        concepts=tuple(map(named_concept, concepts)),
        classes=tuple(named_classes(imagenet_names())),
        concept_of=tuple(concept_of),
        things=tuple(named_things()),
        concept={modality: _nothing(_FEATURES.get(modality, _OTHER_FEATURES)) for modality in Modality},
        named=_nothing(2),
        thing=_nothing(2),
        shape=_nothing(3),
        kinds=_KINDS,
    )


def _right(name: str, kinds: Sequence[str], truth: Sequence[str]) -> bool:
    return any(one.lower() in name.lower() or one in kinds for one in truth)


def _concepts(perceiver: Perceiver, samples: Sequence[CalibrationSample]) -> Iterator[_Row]:
    for one in samples:
        shares = perceiver.recall.shares(one.rows[:1])[0]
        named = perceiver.table.concepts[int(shares.argmax())]
        yield perceiver.concept_features(one.modality, one.rows, shares), _right(named.name, (), one.truth), one.weight


def _classes(perceiver: Perceiver, samples: Sequence[CalibrationSample]) -> Iterator[_Row]:
    for one in samples:
        best, features = perceiver.class_features(one.rows)
        if perceiver.table.concept_of[best] < 0:
            named = perceiver.table.classes[best]
            yield features, _right(named.name, named.kinds, one.truth), one.weight


def _things(perceiver: Perceiver, samples: Sequence[CalibrationSample]) -> Iterator[_Row]:
    for one in samples:
        for thing in things_of(one.rows[THINGS_AT]):
            if thing.kind >= 0 and thing.area > SUBJECT_AREA:
                named = perceiver.table.things[thing.kind]
                yield [thing.score, thing.area], _right(named.name, named.kinds, one.truth), one.weight


def _shapes(perceiver: Perceiver, samples: Sequence[CalibrationSample]) -> Iterator[_Row]:
    """Of pictures of one thing: photographs, whose weight is above 1, rarely stand on a plain ground."""
    for one in samples:
        looked = perceiver.looked(one.rows)
        for at in range(len(looked) if one.weight <= 1 else 0):
            shares, features = perceiver.shape_features(one.rows[LOOKED_AT + at])
            yield features, _right(perceiver.table.concepts[int(shares.argmax())].name, (), one.truth), one.weight
