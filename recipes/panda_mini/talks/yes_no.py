"""Questions whose answer begins with yes or no, as often one as the other."""

import numpy as np

from pandagpt_core.perception.languages import english_noun
from pandagpt_core.perception.reading import Reading
from recipes.panda_mini.talks.naming import void_answer
from recipes.panda_mini.talks.words import NUMBERS, TalkVocabulary, pick, plural

_THERE = (
    "Is there {a} in the picture?",
    "Do you see {a}?",
    "Is there {a}?",
    "Does the picture show {a}?",
    "Is there {a} in the photo?",
)
_IS = ("Is this {a}?", "Is it {a}?")


def names_in(reading: Reading) -> dict[str, str]:
    """The things that are there, by name and by kind: the name that an answer gives."""
    found: dict[str, str] = {}
    if reading.sure:
        found |= dict.fromkeys(reading.names[0].kinds, reading.names[0].name) | {
            reading.names[0].name: reading.names[0].name
        }
    if reading.kind:
        found[reading.kind] = reading.kind
    return found | {thing.name: thing.name for thing in reading.things}


def ask_yes_no(reading: Reading, vocabulary: TalkVocabulary, rng: np.random.Generator) -> tuple[str, str]:
    there = names_in(reading)
    truly = bool(there) and rng.random() < 0.5
    if reading.void:
        asked = pick(vocabulary.names, rng).name
        return str(rng.choice((*_THERE, *_IS))).format(a=english_noun(asked)), f"No. {void_answer(reading)}"
    subject = english_noun(reading.names[0].name) if reading.sure else ""
    if truly:
        asked = str(rng.choice(list(there)))
        is_subject = reading.sure and asked in (reading.names[0].name, *reading.names[0].kinds)
        return _affirmed(asked, there[asked], is_subject, reading, rng)
    maybes = [n.name for n in reading.names] if not reading.sure else []
    if maybes and rng.random() < 0.25:
        asked = str(rng.choice(maybes))
        return str(rng.choice(_IS)).format(
            a=english_noun(asked)
        ), f"It may be {english_noun(asked)}, but I am not sure."
    near = rng.random() < 0.3
    for _ in range(20):
        one = pick(vocabulary.names, rng)
        asked = one.kinds[-1] if one.kinds and not near else one.name
        if asked not in there and asked not in maybes and not any(asked in n.kinds for n in reading.names):
            break
    question = str(rng.choice((*_THERE, *_IS))).format(a=english_noun(asked))
    if rng.random() < 0.1:
        question = f"Are there {plural(asked)} in the picture?"
    if reading.sure:
        return question, f"No, it is {subject}." if question.startswith(
            "Is "
        ) and "there" not in question else f"No, I see {subject}."
    return question, f"No, I see no {asked}, but I am not sure what this is."


def _affirmed(asked: str, name: str, is_subject: bool, reading: Reading, rng: np.random.Generator) -> tuple[str, str]:
    if is_subject and rng.random() < 0.5:
        return str(rng.choice(_IS)).format(a=english_noun(asked)), f"Yes, it is {english_noun(name)}."
    if asked == reading.kind and not reading.sure:
        return str(rng.choice((*_IS, *_THERE))).format(
            a=english_noun(asked)
        ), f"Yes, it is {english_noun(name)}, but I am not sure which."
    n = sum(thing.name == name for thing in reading.things)
    if n > 1 and rng.random() < 0.5:
        return f"Are there {plural(asked)} in the picture?", f"Yes, there are {NUMBERS[n]} {plural(name)}."
    answer = f"Yes, there is {english_noun(name)}." if n < 2 else f"Yes, there are {NUMBERS[n]} {plural(name)}."
    return str(rng.choice(_THERE)).format(a=english_noun(asked)), answer
