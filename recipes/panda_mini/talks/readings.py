"""Readings drawn at random: sure, unsure and empty ones, most of them of pictures."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pandagpt_core.perception.reading import NamedConcept, Reading, Sense, Thing
from recipes.panda_mini.talks.words import COLOURS, PLACES, TalkVocabulary, pick


def draw_reading(vocabulary: TalkVocabulary, rng: np.random.Generator) -> Reading:
    """A sure one, an unsure one, an empty one; mostly pictures."""
    senses: tuple[Sense, ...] = ("picture", "video", "sound", "depth", "heat", "motion", "text")
    sense = senses[int(rng.choice(7, p=(0.72, 0.05, 0.09, 0.04, 0.04, 0.03, 0.03)))]
    kind = rng.random()
    if kind < 0.06:
        return _empty(sense, rng)
    pool = {"sound": vocabulary.sounds, "motion": vocabulary.motions}.get(sense, vocabulary.names)
    reading = _unsure(sense, pool, rng) if kind < 0.34 else Reading(sense, (pick(pool, rng),), True)
    return _looks(reading, vocabulary, rng) if sense in ("picture", "video") else reading


def _empty(sense: Sense, rng: np.random.Generator) -> Reading:
    if sense == "sound":
        return Reading(sense, void=str(rng.choice(["silence", "noise"])))
    if sense == "motion":
        return Reading(sense, void="no movement")
    if sense in ("depth", "heat", "text"):
        return Reading("picture" if sense == "text" else sense, void="blank")
    void = str(rng.choice(["blank", "noise", "a pattern"], p=(0.6, 0.2, 0.2)))
    return Reading(sense, void=void, colours=_colours(rng, 1) if void == "blank" else _colours(rng, 2))


def _unsure(sense: Sense, pool: Sequence[NamedConcept], rng: np.random.Generator) -> Reading:
    first = pick(pool, rng)
    if rng.random() < 0.5 and first.kinds:
        same = [one for one in pool if one.kinds[-1:] == first.kinds[-1:] and one != first]
        if same:
            kind = first.kinds[-1] if rng.random() < 0.6 else ""
            return Reading(sense, (first, pick(same, rng)), kind=kind)
    return Reading(sense, (first, pick(pool, rng))[: int(rng.integers(1, 3))])


def _colours(rng: np.random.Generator, n: int) -> tuple[str, ...]:
    return tuple(str(c) for c in rng.choice(COLOURS, n, replace=False))


def _looks(reading: Reading, vocabulary: TalkVocabulary, rng: np.random.Generator) -> Reading:
    things = _things(reading, vocabulary, rng) if rng.random() < 0.75 else ()
    colours = things[0].colours if things and reading.sure else _colours(rng, int(rng.integers(1, 3)))
    ground = _colours(rng, int(rng.integers(1, 3))) if rng.random() < 0.9 else ()
    if rng.random() < 0.03:
        return replace(reading, things=things)
    return replace(reading, colours=colours, ground=ground, things=things)


def _things(reading: Reading, vocabulary: TalkVocabulary, rng: np.random.Generator) -> tuple[Thing, ...]:
    """One to six; of a sure reading the first is its subject."""
    count = int(rng.choice(6, p=(0.32, 0.22, 0.16, 0.12, 0.1, 0.08))) + 1
    kinds = min(count, int(rng.integers(1, 4)))
    subject = reading.names[0] if reading.sure else pick(vocabulary.names, rng)
    others = [pick(vocabulary.names, rng).name for _ in range(kinds - 1)]
    if not reading.sure and rng.random() < 0.4:
        others = ["person", *others][: max(1, kinds - 1)]
    names = [subject.name, *others]
    chosen = [*names, *(str(rng.choice(names)) for _ in range(count - len(names)))][:count]
    sizes = rng.choice(["", "large", "small"], count, p=(0.4, 0.3, 0.3))
    places = rng.choice(PLACES, count, replace=count > len(PLACES))

    def colour() -> tuple[str, ...]:
        return _colours(rng, 1 if rng.random() < 0.75 else 2) if rng.random() < 0.93 else ()

    return tuple(
        Thing(name, colour(), str(place), str(size)) for name, place, size in zip(chosen, places, sizes, strict=True)
    )
