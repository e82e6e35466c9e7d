"""Questions that ask for sentences or JSON: one reading described, and two media apart and in order."""

import json
from collections.abc import Sequence

import numpy as np

from pandagpt_core.perception.languages import english_noun
from pandagpt_core.perception.reading import Reading, Thing, grouped
from recipes.panda_mini.talks.naming import maybe, void_answer
from recipes.panda_mini.talks.words import NUMBERS, ON, SHOWN, joined, plural

_DESCRIBE = (
    "Describe the picture.", "Describe the photo.", "Describe this image.", "Describe what you see.", "Describe this.",
    "Describe the picture in one sentence.", "Tell me about the picture.", "What is happening in the picture?",
)  # fmt: skip


def ask_describe(reading: Reading, rng: np.random.Generator) -> tuple[str, str]:
    question = str(rng.choice(_DESCRIBE))
    if reading.void:
        return question, void_answer(reading)
    if reading.sense not in ("picture", "video"):
        return question, maybe(reading) if not reading.sure else f"It is {english_noun(reading.names[0].name)}."
    ground = f" The background is {joined(reading.ground)}." if reading.ground else ""
    if reading.things:
        answer = joined([_described(name, members) for name, members in grouped(reading.things)])
        seen = f"The picture shows {answer}.{ground}" if reading.sure else f"{maybe(reading)} I see {answer}.{ground}"
        return question, seen
    if reading.sure:
        shade = f" in {joined(reading.colours)}" if reading.colours else ""
        return question, f"The picture shows {english_noun(reading.names[0].name)}{shade}.{ground}"
    shade = f" The main color is {joined(reading.colours)}." if reading.colours else ""
    return question, f"{maybe(reading)}{shade}{ground}"


def _described(name: str, members: Sequence[Thing]) -> str:
    if len(members) > 1:
        return f"{NUMBERS[len(members)]} {plural(name)} {joined([ON[m.place] for m in members])}"
    one = members[0]
    shade = f"{' and '.join(one.colours)} " if one.colours else ""
    a = english_noun(f"{shade}{name}") if english_noun(name).startswith(("a ", "an ")) else f"{shade}{name}"
    return f"{a} {ON[one.place]}"


def ask_json(reading: Reading, rng: np.random.Generator) -> tuple[str, str] | None:
    if reading.void or reading.sense not in ("picture", "video"):
        return None
    known: dict[str, object] = {"name": reading.names[0].name if reading.sure else "unknown"}
    if reading.colours:
        known["color"] = reading.colours[0]
    if reading.things and reading.sure:
        known["count"] = sum(t.name == reading.names[0].name for t in reading.things)
    if reading.sure and reading.names[0].kinds:
        known[reading.names[0].kinds[-1]] = reading.names[0].name
        known["kind"] = reading.names[0].kinds[-1]
    keys = [str(k) for k in rng.choice(list(known), min(len(known), int(rng.integers(1, 4))), replace=False)]
    quoted = joined([f'"{key}"' for key in keys])
    form = str(
        rng.choice(
            [
                "Answer in JSON with the key{s} {q}.",
                "Answer in JSON with the key{s} {q}: what is this?",
                "Give me JSON with {q}.",
            ]
        )
    )
    return form.format(s="s" if len(keys) > 1 else "", q=quoted), json.dumps({key: known[key] for key in keys})


_BOTH = (
    "What do you see and what do you hear?", "What is in the picture, and what is the sound?", "What are these?",
    "What is in the first, and what is in the second?", "What do the two pictures show?",
    "What is in the first picture, and what is in the second?", "What is this?", "Describe both.",
)  # fmt: skip


def ask_both(first: Reading, second: Reading, rng: np.random.Generator) -> tuple[str, str]:
    """Each medium by its own sense, in order."""
    question = str(rng.choice(_BOTH))
    if first.sense == second.sense:
        return question, f"The first {_medium(first)} {_clause(first)}, and the second {_clause(second)}."
    return question, f"The {_medium(first)} {_clause(first)}, and the {_medium(second)} {_clause(second)}."


def _medium(reading: Reading) -> str:
    return {**SHOWN, "sound": "sound", "motion": "movement", "text": "text"}[reading.sense]


def _clause(reading: Reading) -> str:
    verb = "shows" if reading.sense in SHOWN else "is"
    if reading.void:
        return f"is {reading.void}"
    candidates = " or ".join(english_noun(one.name) for one in reading.names)
    return f"{verb} {candidates}" if reading.sure else f"may be {candidates}, which I am not sure of"
