"""Figures with a bootstrap interval, for scores that are no mean of hits (CIDEr, F1)."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

DRAWS = 1000
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Interval:
    """The mean of one score an item, which may exceed 1, with the middle 95 % of means of items drawn again."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        return _bounds(self.values, lambda some: sum(some) / len(some))

    def to_dict(self) -> dict[str, float | int | list[float]]:
        bounds = [round(bound, 4) for bound in self.interval]
        return {"n": len(self.values), "mean": round(self.mean, 4), "interval_95": bounds}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A score of all n items together, with the middle 95 % of the scores of items drawn again."""

    n: int
    value: float
    interval: tuple[float, float]

    def to_dict(self) -> dict[str, float | int | list[float]]:
        bounds = [round(bound, 4) for bound in self.interval]
        return {"n": self.n, "value": round(self.value, 4), "interval_95": bounds}


def bootstrapped(items: Sequence[_Item], score: Callable[[Sequence[_Item]], float]) -> Drawn:
    return Drawn(len(items), score(items), _bounds(items, score))


def interval(values: Sequence[float]) -> Interval:
    return Interval(tuple(values))


def _bounds(items: Sequence[_Item], score: Callable[[Sequence[_Item]], float]) -> tuple[float, float]:
    """Percentiles of the bootstrap (Efron 1979); the draws are always the same."""
    chance = random.Random(0)
    scores = sorted(score(chance.choices(items, k=len(items))) for _ in range(DRAWS))
    return scores[round(0.025 * (DRAWS - 1))], scores[round(0.975 * (DRAWS - 1))]
