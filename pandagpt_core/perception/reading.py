"""The reading of one medium, and the line of words that states it in the prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from pandagpt_core.perception.languages import ENGLISH, Language

Sense = Literal["picture", "video", "sound", "depth", "heat", "motion", "text"]


@dataclass(frozen=True, slots=True)
class NamedConcept:
    """A name, and the kinds of thing that it belongs to ("animal"), the narrower first."""

    name: str
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing in a picture: its colours, the strongest first, its place ("top left"), "large" or "small" or ""."""

    name: str
    colours: tuple[str, ...] = ()
    place: str = ""
    size: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """names: the surest first; of several, none is sure. kind: a sure kind, where the name is not sure.

    void: the state of a medium without a subject ("blank", "silence"). confidence: that the first name is right, 0 to
    1. asked: names that the question asks for, each with the probability that it is there.
    """

    sense: Sense
    names: tuple[NamedConcept, ...] = ()
    sure: bool = False
    kind: str = ""
    void: str = ""
    colours: tuple[str, ...] = ()
    ground: tuple[str, ...] = ()
    things: tuple[Thing, ...] = ()
    confidence: float = 1.0
    asked: tuple[tuple[str, float], ...] = ()


def words(reading: Reading, language: Language = ENGLISH) -> str:
    """One line in brackets, in the language's words; names that it has no word for stay English."""
    say = language.word
    parts = [f"{say(reading.sense).capitalize()}: {_subject(reading, language)}"]
    if reading.colours:
        parts.append(f"{say('colors')}: {', '.join(map(say, reading.colours))}")
    if reading.ground:
        parts.append(f"{say('background')}: {', '.join(map(say, reading.ground))}")
    if reading.things:
        parts.append(f"{say('things')}: {'; '.join(_groups(reading.things, language))}")
    return f"({'. '.join(parts)}.)"


def _subject(reading: Reading, language: Language) -> str:
    say = language.word
    if reading.void:
        return say(reading.void)
    named = [_with_kinds(one, language) for one in reading.names]
    if reading.sure:
        return named[0]
    candidates = f" {say('or')} ".join(named)
    maybe = f"{say('not sure')}, {say('maybe')} {candidates}" if named else say("not sure")
    return f"{language.noun(reading.kind)}, {maybe}" if reading.kind else maybe


def _with_kinds(one: NamedConcept, language: Language) -> str:
    kinds = ", ".join(map(language.word, one.kinds))
    return f"{language.noun(one.name)} ({kinds})" if kinds else language.noun(one.name)


def grouped(things: Sequence[Thing]) -> list[tuple[str, list[Thing]]]:
    """Things of one name together, in the order in which each name comes first."""
    order = {thing.name: at for at, thing in reversed(list(enumerate(things)))}
    ranked = sorted(things, key=lambda thing: order[thing.name])
    return [(name, list(members)) for name, members in groupby(ranked, key=lambda thing: thing.name)]


def _groups(things: Sequence[Thing], language: Language) -> list[str]:
    say = language.word
    return [
        f"{len(members)} {language.bare(name)}: "
        + ", ".join(" ".join(say(w) for w in (*one.colours, one.place, one.size) if w) for one in members)
        for name, members in grouped(things)
    ]
