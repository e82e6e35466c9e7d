"""Layout of a medium's perception in the rows [n, E] beside its embedding, which is always the first row.

row 1          measures of the whole: `Measures`, padded
rows 2 to 5    pictures and videos: the trunk's probabilities of ImageNet's 1,000 classes, padded to 4 rows of 256
row 6          pictures: up to 8 things of 32 numbers each (`ThingRow`)
rows 7 to 14   pictures: the embedding of each thing that was looked at by itself, else zeros
row 15         pictures: the detector's best score of each of its kinds, padded; zeros where it did not run
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pandagpt_core.types import Modality

WIDTH = 256
COLOURS = 11
MOST_THINGS = 8
_THING = WIDTH // MOST_THINGS
CLASS_ROWS = slice(2, 6)
THINGS_AT, LOOKED_AT, SCORES_AT = 6, 7, 15
_WHOLE, _CLASSES = 2, 4
ROWS: Mapping[Modality, int] = {
    modality: _WHOLE + (_CLASSES if modality in (Modality.IMAGE, Modality.VIDEO) else 0) for modality in Modality
} | {Modality.IMAGE: SCORES_AT + 1}


@dataclass(frozen=True, slots=True)
class Measures:
    """spread: the standard deviation of what the encoder is given, pictures in 0..255. neighbours: how much two
    neighbouring pixels have in common, 0 to 1. slope: the steepest of a blurred picture. plain: the share of the rim
    that has one colour. main, ground: shares of the 11 colours in the middle and on the rim."""

    spread: float = 0.0
    neighbours: float = 1.0
    slope: float = 0.0
    plain: float = 0.0
    main: tuple[float, ...] = (0.0,) * COLOURS
    ground: tuple[float, ...] = (0.0,) * COLOURS

    def row(self) -> Tensor:
        flat = [self.spread, self.neighbours, self.slope, self.plain, *self.main, *self.ground]
        return _padded(flat)

    @classmethod
    def of(cls, row: Tensor) -> "Measures":
        spread, neighbours, slope, plain, *shares = row[: 4 + 2 * COLOURS].tolist()
        return cls(spread, neighbours, slope, plain, tuple(shares[:COLOURS]), tuple(shares[COLOURS:]))


@dataclass(frozen=True, slots=True)
class ThingRow:
    """score: the detector's, 1 for a shape on a plain ground. kind: of COCO's 80, -1 for a shape. The box in shares."""

    score: float
    kind: int
    left: float
    top: float
    right: float
    bottom: float
    colours: tuple[float, ...]

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)

    @property
    def middle(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


def things_row(things: list[ThingRow]) -> Tensor:
    parts = [_padded([1.0, *_flat(thing)], _THING) for thing in things[:MOST_THINGS]]
    parts += [torch.zeros(_THING)] * (MOST_THINGS - len(parts))
    return torch.cat(parts)


def things_of(row: Tensor) -> list[ThingRow]:
    found = []
    for part in row.reshape(MOST_THINGS, _THING).tolist():
        present, score, kind, *rest = part
        if present > 0:
            left, top, right, bottom, *shares = rest[: 4 + COLOURS]
            found.append(ThingRow(score, int(kind), left, top, right, bottom, tuple(shares)))
    return found


def classes_rows(probabilities: Tensor) -> Tensor:
    """[1000] to [4, 256]."""
    return torch.nn.functional.pad(probabilities, (0, _CLASSES * WIDTH - len(probabilities))).reshape(_CLASSES, WIDTH)


def classes_of(rows: Tensor, classes: int = 1000) -> Tensor:
    return rows[CLASS_ROWS].flatten()[:classes]


def scores_row(scores: Tensor) -> Tensor:
    """[kinds] to [256]."""
    return torch.nn.functional.pad(scores, (0, WIDTH - len(scores)))


def _flat(thing: ThingRow) -> list[float]:
    *numbers, colours = (getattr(thing, each.name) for each in fields(thing))
    return [*map(float, numbers), *colours]


def _padded(values: list[float], width: int = WIDTH) -> Tensor:
    return torch.nn.functional.pad(torch.tensor(values, dtype=torch.float32), (0, width - len(values)))
