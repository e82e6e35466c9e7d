"""Shares with what chance would give and how sure they are; differences of two shares of the same items."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z = 1.96  # of a 95 % interval


def wilson(hits: int, n: int, z: float = Z) -> tuple[float, float]:
    """Wilson's interval of a share (Wilson 1927)."""
    share, spread = hits / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * ((share * (1 - share) + spread / 4) / n) ** 0.5 / (1 + spread)
    return centre - half, centre + half


@dataclass(frozen=True, slots=True)
class Rate:
    """Hits among n, with Wilson's 95 % interval; `chance` is what guessing gives, None where there is no guessing."""

    n: int
    hits: int
    chance: float | None = None

    @property
    def share(self) -> float:
        return self.hits / self.n

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.n)

    def to_dict(self) -> dict[str, float | int | list[float] | None]:
        bounds = [round(bound, 4) for bound in self.interval]
        return {
            "n": self.n,
            "hits": self.hits,
            "share": round(self.share, 4),
            "interval_95": bounds,
            "chance": self.chance,
        }


@dataclass(frozen=True, slots=True)
class Gain:
    """Difference of two shares of the same n items.

    gained: items that only the first gets right, lost: only the second. The interval is Agresti and Min's (2005),
    Wald's with half a count added to each cell, which holds for few items.
    """

    n: int
    gained: int
    lost: int

    @property
    def difference(self) -> float:
        return (self.gained - self.lost) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        n, gained, lost = self.n + 2, self.gained + 0.5, self.lost + 0.5
        middle = (gained - lost) / n
        half = Z * math.sqrt(gained + lost - (gained - lost) ** 2 / n) / n
        return max(-1.0, middle - half), min(1.0, middle + half)

    def to_dict(self) -> dict[str, float | int | list[float]]:
        bounds = [round(bound, 4) for bound in self.interval]
        return {"n": self.n, "difference": round(self.difference, 4), "interval_95": bounds}


@dataclass(frozen=True, slots=True)
class Mean:
    """Of numbers from 0 to 1, with the normal 95 % interval of their mean."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        n, mean = len(self.values), self.mean
        spread = math.sqrt(sum((value - mean) ** 2 for value in self.values) / max(1, n - 1))
        half = Z * spread / math.sqrt(n)
        return max(0.0, mean - half), min(1.0, mean + half)

    def to_dict(self) -> dict[str, float | int | list[float]]:
        bounds = [round(bound, 4) for bound in self.interval]
        return {"n": len(self.values), "mean": round(self.mean, 4), "interval_95": bounds}


def rate(hits: Sequence[bool], chance: float | None = None) -> Rate:
    return Rate(len(hits), sum(hits), chance)


def mean_by(truths: Sequence[str], hits: Sequence[bool]) -> Mean:
    """The mean of each truth's own share, so that a truth with many items weighs as much as one with few."""
    of: dict[str, list[bool]] = {}
    for truth, hit in zip(truths, hits, strict=True):
        of.setdefault(truth, []).append(hit)
    return Mean(tuple(sum(each) / len(each) for each in of.values()))


def gain(first: Sequence[bool], second: Sequence[bool]) -> Gain:
    both = list(zip(first, second, strict=True))
    return Gain(len(both), sum(one and not other for one, other in both), sum(other and not one for one, other in both))


def first_named(answer: str, names: Sequence[str]) -> str | None:
    """The concept that an answer names first; of names that begin at one place the longest."""
    text = f" {''.join(c if c.isalnum() else ' ' for c in answer.lower())} "
    found = [(text.find(f" {name} "), -len(name), name) for name in names if f" {name} " in text]
    plural = [(text.find(f" {name}s "), -len(name), name) for name in names if f" {name}s " in text]
    return min([*found, *plural], default=(0, 0, None))[2]
