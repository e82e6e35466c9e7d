"""A reader's notes on a medium: warnings, facts and the spans of time that it used.

A loader returns its array alone; remarks go to the collector that `collecting` set, or nowhere. Texts are fixed words
and numbers, never a caller's text.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec

MAX_WARNINGS = 16


class Known(msgspec.Struct, frozen=True):
    """A parameter of a medium as its file states it; None where nothing does. `reason`: a sentence or a part of one."""

    value: float | str | None
    reason: str


class Notes(msgspec.Struct, frozen=True):
    """`facts` name how the file was read, in words; `spans` are seconds from start to end of what was looked at.

    `empty` is a sentence where the medium holds nothing, as in "The sound is silent.". `parameters` are what the file
    itself states of the modality's parameters.
    """

    warnings: list[str] = []
    facts: dict[str, str] = {}
    spans: list[tuple[float, float]] = []
    empty: str = ""
    parameters: dict[str, Known] = {}


class _Open:
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.facts: dict[str, str] = {}
        self.spans: list[tuple[float, float]] = []
        self.empty = ""
        self.parameters: dict[str, Known] = {}

    def closed(self) -> Notes:
        return Notes(self.warnings[:MAX_WARNINGS], self.facts, self.spans, self.empty, self.parameters)


_current: ContextVar[_Open | None] = ContextVar("notes", default=None)


@contextmanager
def collecting() -> Iterator[_Open]:
    """Collect what readers remark inside the block; `closed()` gives it."""
    found = _Open()
    token = _current.set(found)
    try:
        yield found
    finally:
        _current.reset(token)


def warn(text: str) -> None:
    """Something that the caller should know of an answer about this medium."""
    if (notes := _current.get()) is not None and text not in notes.warnings:
        notes.warnings.append(text)


def empty(sentence: str) -> None:
    """The medium holds nothing. The sentence is a warning, and in the prompt of a model that cannot perceive it."""
    warn(sentence)
    if (notes := _current.get()) is not None:
        notes.empty = sentence


def fact(name: str, value: object) -> None:
    """Note a fact of the reading, for `pandagpt inspect`."""
    if (notes := _current.get()) is not None:
        notes.facts[name] = str(value)


def parameter(name: str, value: float | str | None, reason: str) -> None:
    """Note the file's value of one of the modality's parameters; None with the reason where it has none."""
    if (notes := _current.get()) is not None:
        notes.parameters[name] = Known(value, reason)


def spans(seconds: list[tuple[float, float]]) -> None:
    """The parts of a long medium that were looked at, joined where they meet."""
    if (notes := _current.get()) is not None:
        notes.spans = [(round(start, 3), round(end, 3)) for start, end in joined(seconds)]


def joined(seconds: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Sorted, and those that overlap or touch made one."""
    out: list[tuple[float, float]] = []
    for start, end in sorted(seconds):
        if out and start <= out[-1][1] + 1e-6:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out
