"""Places of a scene's things, before anything is drawn: 1 to 6, apart from one another, kinds and colours repeated."""

from dataclasses import dataclass

import numpy as np
import torch

from pandagpt_core.encoders.grid.encoder import reading_place
from recipes.panda_locate.things import COLOURS, NAMES, DrawnThing

MOST = 6
_SMALLEST, _LARGEST = 0.18, 0.45  # of the picture's sides, the longer side of a thing
_APART = 0.17  # between two centres, along the axis on which they are further apart
_COVERED = 0.12  # of the smaller of two things, at most
_REPEATED, _TINTED = 0.4, 0.65
_TRIES = 40


@dataclass(frozen=True, slots=True)
class Plan:
    """A thing to draw: `x`, `y` is its centre, `side` its longer side, of 0 to 1."""

    name: int
    colour: int
    x: float
    y: float
    side: float


EVERY = tuple(range(len(NAMES)))


def plan_scene(rng: np.random.Generator, names: tuple[int, ...] = EVERY, most: int = MOST) -> list[Plan]:
    """As many as find room of 1 to `most`, smaller the more there are."""
    wanted = int(rng.integers(1, most + 1))
    kinds = list(rng.choice(names, wanted, replace=wanted > len(names)))
    plans: list[Plan] = []
    for index in range(wanted):
        if index and rng.random() < _REPEATED:
            kinds[index] = kinds[int(rng.integers(index))]
        colour = int(rng.integers(len(COLOURS))) if rng.random() < _TINTED else -1
        for _ in range(_TRIES):
            side = float(rng.uniform(_SMALLEST, max(0.26, _LARGEST - 0.04 * wanted)))
            x, y = (float(value) for value in rng.uniform(side / 2, 1 - side / 2, 2))
            made = Plan(int(kinds[index]), colour, x, y, side)
            if not any(_clash(made, other) for other in plans):
                plans.append(made)
                break
    return plans


def imagined(plan: Plan, rng: np.random.Generator) -> DrawnThing:
    """The thing as it might be drawn: an outline of some aspect around the plan's centre."""
    ratio = float(np.clip(np.exp(rng.normal(0, 0.3)), 0.45, 2.2))
    width, height = (plan.side, plan.side / ratio) if ratio > 1 else (plan.side * ratio, plan.side)
    box = (plan.x - width / 2, plan.y - height / 2, plan.x + width / 2, plan.y + height / 2)
    return DrawnThing(plan.name, plan.colour, box)


def in_order(things: list[DrawnThing]) -> list[DrawnThing]:
    """As the encoder has them, and lists in answers."""
    return sorted(things, key=lambda thing: int(reading_place(torch.tensor(thing.box))))


def _clash(one: Plan, other: Plan) -> bool:
    apart = max(abs(one.x - other.x), abs(one.y - other.y))
    if apart < _APART:
        return True
    reach = (one.side + other.side) / 2
    width, height = (max(0.0, reach - abs(a - b)) for a, b in ((one.x, other.x), (one.y, other.y)))
    return width * height > _COVERED * min(one.side, other.side) ** 2
