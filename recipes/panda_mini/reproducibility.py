"""Figures of a new build held against those that are committed: which fall outside the committed 95 % intervals."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

COMMITTED = Path(__file__).parents[2] / "models" / "panda-mini" / "figures.json"
_VALUES = ("share", "mean", "difference")
_NAMES = ("measure", "set", "modality")  # fields that name an entry of a list


class Figure(NamedTuple):
    """A number of the report and its 95 % interval."""

    value: float
    low: float
    high: float


class Outside(NamedTuple):
    """A figure by its name, as it was found, and the committed one that it does not agree with."""

    name: str
    found: float
    committed: Figure


def read(path: Path = COMMITTED) -> dict[str, Any]:
    """The committed figures; none where there is no such file."""
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return figures


def figures_of(said: Any, name: str = "") -> Iterator[tuple[str, Figure]]:
    """Every number with an interval, however deep, by where it stands: "validation answer photos image exact"."""
    if isinstance(said, Mapping):
        if "interval_95" in said:
            yield name, Figure(next(said[key] for key in _VALUES if key in said), *said["interval_95"])
        for key, inner in said.items():
            yield from figures_of(inner, f"{name} {key}".strip())
    elif isinstance(said, list):
        for entry in said:
            if isinstance(entry, Mapping):
                called = " ".join(str(entry[key]) for key in _NAMES if key in entry)
                yield from figures_of(entry, f"{name} {called}")


def compared(found: Mapping[str, Any], committed: Mapping[str, Any]) -> tuple[int, list[Outside]]:
    """Number of figures that both have, and the figures outside the committed interval."""
    before, now = dict(figures_of(committed)), dict(figures_of(found))
    both = [name for name in now if name in before]
    outside = [name for name in both if not before[name].low <= now[name].value <= before[name].high]
    return len(both), [Outside(name, now[name].value, before[name]) for name in outside]
