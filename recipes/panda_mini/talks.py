# ruff: noqa: E501 - tables of sentences, a sentence a line
"""Talks about readings, whose truth is exact: what the language model learns to say from a line of words.

A reading is drawn at random, names from the concepts, ImageNet's classes and COCO's kinds; every question is answered
from it alone. So the model learns to read the line and to say no more than stands in it, whatever the thing is.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pandagpt_core.perception.languages import ENGLISH, LANGUAGES, Language, english_noun
from pandagpt_core.perception.reading import NamedConcept, Reading, Sense, Thing, grouped

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray")
PLACES = ("left", "right", "top", "bottom", "middle", "top left", "top right", "bottom left", "bottom right")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
_ON = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
_ON |= {"middle": "in the middle"} | {place: f"at the {place}" for place in PLACES if " " in place}
_IRREGULAR = {"person": "people", "mouse": "mice", "goose": "geese", "fish": "fish", "sheep": "sheep", "deer": "deer"}
Talk = list[tuple[str, str]]  # questions and answers in order


@dataclass(frozen=True, slots=True)
class TalkVocabulary:
    """Every name with its kinds; the audible and movable ones of the concepts apart."""

    names: tuple[NamedConcept, ...]
    sounds: tuple[NamedConcept, ...]
    motions: tuple[NamedConcept, ...]


def plural(name: str) -> str:
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if name.endswith(("s", "x", "ch", "sh")):
        return name if name.endswith("s") and not name.endswith("ss") and name != "bus" else f"{name}es"
    return f"{name[:-1]}ies" if name.endswith("y") and name[-2] not in "aeiou" else f"{name}s"


def joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def draw_reading(vocabulary: TalkVocabulary, rng: np.random.Generator) -> Reading:
    """A sure one, an unsure one, an empty one; mostly pictures."""
    senses: tuple[Sense, ...] = ("picture", "video", "sound", "depth", "heat", "motion", "text")
    sense = senses[int(rng.choice(7, p=(0.72, 0.05, 0.09, 0.04, 0.04, 0.03, 0.03)))]
    kind = rng.random()
    if kind < 0.06:
        return _empty(sense, rng)
    pool = {"sound": vocabulary.sounds, "motion": vocabulary.motions}.get(sense, vocabulary.names)
    reading = _unsure(sense, pool, rng) if kind < 0.34 else Reading(sense, (_pick(pool, rng),), True)
    return _looks(reading, vocabulary, rng) if sense in ("picture", "video") else reading


def _pick(pool: Sequence[NamedConcept], rng: np.random.Generator) -> NamedConcept:
    return pool[int(rng.integers(len(pool)))]


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
    first = _pick(pool, rng)
    if rng.random() < 0.5 and first.kinds:
        same = [one for one in pool if one.kinds[-1:] == first.kinds[-1:] and one != first]
        if same:
            kind = first.kinds[-1] if rng.random() < 0.6 else ""
            return Reading(sense, (first, _pick(same, rng)), kind=kind)
    return Reading(sense, (first, _pick(pool, rng))[: int(rng.integers(1, 3))])


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
    subject = reading.names[0] if reading.sure else _pick(vocabulary.names, rng)
    others = [_pick(vocabulary.names, rng).name for _ in range(kinds - 1)]
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


# --- questions -------------------------------------------------------------------------------------------------------

_SHOWN: Mapping[str, str] = {"picture": "picture", "video": "video", "depth": "depth map", "heat": "thermal picture"}
_NAMING = (
    ("What is this?", "This is {a}."),
    ("What is it?", "It is {a}."),
    ("What is in the {s}?", "The {s} shows {a}."),
    ("What does the {s} show?", "The {s} shows {a}."),
    ("What does this show?", "This shows {a}."),
    ("What do you see?", "I see {a}."),
    ("What do you see in the {s}?", "I see {a}."),
    ("What am I looking at?", "You are looking at {a}."),
    ("What could this be?", "This could be {a}."),
    ("Can you tell me what this is?", "This is {a}."),
    ("Please identify this.", "This is {a}."),
    ("Name it.", "It is {a}."),
    ("Who or what is this?", "This is {a}."),
    ("Who or what is in the {s}?", "The {s} shows {a}."),
    ("What is in the photo?", "The photo shows {a}."),
    ("What is in the image?", "The image shows {a}."),
    ("What does the photo show?", "The photo shows {a}."),
    ("Answer in a few words: what is this?", "{A}."),
)
_HEARD = (
    ("What is this?", "This is {a}."),
    ("What do you hear?", "I hear {a}."),
    ("What is the sound?", "The sound is {a}."),
    ("What can be heard?", "It is {a}."),
    ("What makes this sound?", "It is {a}."),
    ("Name it.", "It is {a}."),
)
_MOVED = (
    ("What is this?", "This is {a}."),
    ("What is the person doing?", "It is {a}."),
    ("What movement is this?", "This is {a}."),
)
_READ = (("What is this?", "This is {a}."), ("What is it about?", "It is about {a}."), ("Name it.", "It is {a}."))
_VOIDS: Mapping[str, str] = {
    "silence": "This is silence: nothing can be heard.",
    "no movement": "There is no movement: the sensor lies still.",
}


def _naming_of(reading: Reading) -> tuple[tuple[str, str], ...]:
    return {"sound": _HEARD, "motion": _MOVED, "text": _READ}.get(reading.sense, _NAMING)


def maybe(reading: Reading) -> str:
    candidates = " or ".join(english_noun(one.name) for one in reading.names)
    if reading.kind:
        return f"This is {english_noun(reading.kind)}; I am not sure which, it may be {candidates}."
    return f"I am not sure what this is; it may be {candidates}."


def void_said(reading: Reading) -> str:
    if reading.void in _VOIDS:
        return _VOIDS[reading.void]
    if reading.sense == "sound":
        return "This is noise: I hear nothing that I could name."
    said = _SHOWN[reading.sense]
    if reading.void == "blank":
        colour = f": it is all {reading.colours[0]}" if reading.colours else ""
        return f"The {said} is blank{colour}. There is nothing in it."
    if reading.void == "noise":
        return f"The {said} is noise. There is nothing in it that I could name."
    return f"The {said} shows a pattern of {joined(reading.colours)}, and no thing that I could name."


def ask_name(reading: Reading, rng: np.random.Generator) -> tuple[str, str]:
    question, pattern = _naming_of(reading)[int(rng.integers(len(_naming_of(reading))))]
    shown = (
        str(rng.choice([_SHOWN.get(reading.sense, "picture"), "picture"])) if reading.sense != "picture" else "picture"
    )
    question = question.format(s=shown)
    if reading.void:
        return question, void_said(reading)
    if not reading.sure:
        return question, _with_things(reading, maybe(reading))
    a = english_noun(reading.names[0].name)
    return question, pattern.format(a=a, A=a[0].upper() + a[1:], s=shown)


def _with_things(reading: Reading, answer: str) -> str:
    """What is seen of an unsure picture all the same."""
    if not reading.things:
        return answer
    seen = joined([_counted(name, len(members)) for name, members in grouped(reading.things)])
    return f"{answer} I see {seen}."


def _counted(name: str, n: int) -> str:
    if n == 1:
        return english_noun(name)
    return f"{NUMBERS[n]} {plural(name)}"


def ask_colour(reading: Reading, rng: np.random.Generator) -> tuple[str, str] | None:
    word = str(rng.choice(["color", "colour"]))
    choices: list[tuple[str, str]] = []
    if reading.ground:
        ground = joined(reading.ground)
        choices += [
            (f"What {word} is the background?", f"The background is {ground}."),
            (f"What is the {word} of the background?", f"The background is {ground}."),
        ]
    if reading.colours:
        main = joined(reading.colours)
        choices += [
            (f"What is the main {word}?", f"The main color is {main}."),
            (f"What {word} is it?", f"It is {main}."),
        ]
        choices += [(f"What {word} is the picture?", f"The picture is {main}.")]
    if reading.sure and reading.colours:
        name = reading.names[0].name
        main = joined(reading.colours)
        choices += [(f"What {word} is the {name}?", f"The {name} is {main}.")] * 3
        kind = reading.names[0].kinds[-1:]
        choices += [(f"What {word} is the {one}?", f"The {one} is {main}.") for one in kind]
        choices += [(f"What {word} are the {plural(name)}?", f"The {plural(name)} are {main}.")]
    for name, members in grouped(reading.things):
        shades = tuple(dict.fromkeys(c for one in members for c in one.colours))
        if shades and len(members) == 1:
            choices += [(f"What {word} is the {name}?", f"The {name} is {joined(shades)}.")] * 2
        elif shades:
            choices += [(f"What {word} are the {plural(name)}?", f"The {plural(name)} are {joined(shades)}.")] * 2
    if not choices:
        return None
    if rng.random() < 0.1 and reading.colours:  # of a part that the line does not name: the main colour
        part = str(rng.choice(["sky", "suit", "saucer", "roof", "grass", "bricks", "sea", "wall", "shirt"]))
        verb = "are" if part == "bricks" else "is"
        said = reading.ground if part in ("sky", "grass", "sea", "wall") and reading.ground else reading.colours
        return f"What {word} {verb} the {part}?", f"I think it is {joined(said)}."
    return choices[int(rng.integers(len(choices)))]


def _absent(reading: Reading, vocabulary: TalkVocabulary, rng: np.random.Generator) -> str:
    there = _holds(reading)
    return next(name for name in (_pick(vocabulary.names, rng).name for _ in range(99)) if name not in there)


def ask_count(reading: Reading, vocabulary: TalkVocabulary, rng: np.random.Generator) -> tuple[str, str] | None:
    if reading.void:
        return "How many things are there?", "There are no things: there is nothing to count."
    if not reading.things:
        return None if reading.sure else ("How many things are there?", "I am not sure what there is to count.")
    total = len(reading.things)
    groups = grouped(reading.things)
    if rng.random() < 0.3:
        question = str(
            rng.choice(
                ["How many things are there?", "How many things are in the picture?", "How many things do you see?"]
            )
        )
        if total == 1:
            return question, f"There is one thing: {english_noun(groups[0][0])}."
        return question, f"There are {NUMBERS[total]} things: {joined([_counted(n, len(m)) for n, m in groups])}."
    name, members = groups[int(rng.integers(len(groups)))]
    if rng.random() < 0.12:
        absent = _absent(reading, vocabulary, rng)
        return f"How many {plural(absent)} are there?", f"I see no {plural(absent)}."
    form = str(
        rng.choice(
            ["How many {} are there?", "How many {} do you see?", "How many {} are in the picture?", "Count the {}."]
        )
    )
    n = len(members)
    told = f"There is one {name}." if n == 1 else f"There are {NUMBERS[n]} {plural(name)}."
    return form.format(plural(name)), told


def ask_where(reading: Reading, rng: np.random.Generator) -> tuple[str, str] | None:
    if not reading.things:
        return None
    name, members = grouped(reading.things)[int(rng.integers(len(grouped(reading.things))))]
    said = joined([_ON[one.place] for one in members])
    if len(members) == 1:
        wrong = str(rng.choice([p for p in ("left", "right", "top", "bottom") if p not in members[0].place]))
        if rng.random() < 0.2:
            if rng.random() < 0.5:
                return f"Is the {name} {_ON[members[0].place]}?", f"Yes, the {name} is {said}."
            return f"Is the {name} {_ON[wrong]}?", f"No, the {name} is {said}."
        question = str(
            rng.choice(
                [f"Where is the {name}?", f"Where in the picture is the {name}?", f"Where do you see the {name}?"]
            )
        )
        if reading.sure and reading.names[0].name == name and reading.names[0].kinds and rng.random() < 0.25:
            name = reading.names[0].kinds[-1]
            question = f"Where is the {name}?"
        return question, f"The {name} is {said}."
    return f"Where are the {plural(name)}?", f"The {plural(name)} are {said}."


def ask_bigger(reading: Reading, rng: np.random.Generator) -> tuple[str, str] | None:
    single = [m[0] for _, m in grouped(reading.things) if len(m) == 1]
    large = [t for t in single if t.size == "large"]
    small = [t for t in single if t.size == "small"]
    if not large or not small:
        return None
    big, tiny = large[0].name, small[0].name
    forms = (
        (f"Is the {big} bigger than the {tiny}?", f"Yes, the {big} is bigger than the {tiny}."),
        (f"Is the {tiny} bigger than the {big}?", f"No, the {big} is bigger than the {tiny}."),
        (f"Is the {tiny} smaller than the {big}?", f"Yes, the {tiny} is smaller than the {big}."),
        ("Which is bigger?", f"The {big} is bigger."),
        (f"Which is bigger, the {tiny} or the {big}?", f"The {big} is bigger."),
    )
    return forms[int(rng.integers(len(forms)))]


_THERE = (
    "Is there {a} in the picture?",
    "Do you see {a}?",
    "Is there {a}?",
    "Does the picture show {a}?",
    "Is there {a} in the photo?",
)
_IS = ("Is this {a}?", "Is it {a}?")


def _holds(reading: Reading) -> dict[str, str]:
    """Everything that is there, by name and kind, with the name that says so."""
    found: dict[str, str] = {}
    if reading.sure:
        found |= dict.fromkeys(reading.names[0].kinds, reading.names[0].name) | {
            reading.names[0].name: reading.names[0].name
        }
    if reading.kind:
        found[reading.kind] = reading.kind
    return found | {thing.name: thing.name for thing in reading.things}


def ask_yes_no(reading: Reading, vocabulary: TalkVocabulary, rng: np.random.Generator) -> tuple[str, str]:
    there = _holds(reading)
    truly = bool(there) and rng.random() < 0.5
    if reading.void:
        asked = _pick(vocabulary.names, rng).name
        return str(rng.choice((*_THERE, *_IS))).format(a=english_noun(asked)), f"No. {void_said(reading)}"
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
        one = _pick(vocabulary.names, rng)
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
    told = f"Yes, there is {english_noun(name)}." if n < 2 else f"Yes, there are {NUMBERS[n]} {plural(name)}."
    return str(rng.choice(_THERE)).format(a=english_noun(asked)), told


_DESCRIBE = (
    "Describe the picture.", "Describe the photo.", "Describe this image.", "Describe what you see.", "Describe this.",
    "Describe the picture in one sentence.", "Tell me about the picture.", "What is happening in the picture?",
)  # fmt: skip


def ask_describe(reading: Reading, rng: np.random.Generator) -> tuple[str, str]:
    question = str(rng.choice(_DESCRIBE))
    if reading.void:
        return question, void_said(reading)
    if reading.sense not in ("picture", "video"):
        return question, maybe(reading) if not reading.sure else f"It is {english_noun(reading.names[0].name)}."
    ground = f" The background is {joined(reading.ground)}." if reading.ground else ""
    if reading.things:
        told = joined([_described(name, members) for name, members in grouped(reading.things)])
        seen = f"The picture shows {told}.{ground}" if reading.sure else f"{maybe(reading)} I see {told}.{ground}"
        return question, seen
    if reading.sure:
        shade = f" in {joined(reading.colours)}" if reading.colours else ""
        return question, f"The picture shows {english_noun(reading.names[0].name)}{shade}.{ground}"
    shade = f" The main color is {joined(reading.colours)}." if reading.colours else ""
    return question, f"{maybe(reading)}{shade}{ground}"


def _described(name: str, members: Sequence[Thing]) -> str:
    if len(members) > 1:
        return f"{NUMBERS[len(members)]} {plural(name)} {joined([_ON[m.place] for m in members])}"
    one = members[0]
    shade = f"{' and '.join(one.colours)} " if one.colours else ""
    a = english_noun(f"{shade}{name}") if english_noun(name).startswith(("a ", "an ")) else f"{shade}{name}"
    return f"{a} {_ON[one.place]}"


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


_FOREIGN: Mapping[str, tuple[tuple[tuple[str, str], ...], str, str]] = {
    "de": (
        (("Was ist das?", "Das ist {a}."), ("Was zeigt das Bild?", "Das Bild zeigt {a}."), ("Was siehst du?", "Ich sehe {a}."),
         ("Was ist auf dem Bild zu sehen?", "Das Bild zeigt {a}."), ("Was ist auf dem Foto?", "Das Foto zeigt {a}."),
         ("Welches Tier ist das?", "Das ist {a}."), ("Was ist das auf dem Bild?", "Das ist {a}.")),
        "Ich bin nicht sicher, was das ist; es könnte {a} sein.", "Das ist {k}; es könnte {a} sein, aber ich bin nicht sicher.",
    ),
    "es": (
        (("¿Qué es esto?", "Esto es {a}."), ("¿Qué muestra la imagen?", "La imagen muestra {a}."), ("¿Qué ves?", "Veo {a}."),
         ("¿Qué hay en la foto?", "En la foto hay {a}."), ("¿Qué ves en la imagen?", "Veo {a}."), ("¿Qué animal es este?", "Es {a}."),
         ("¿Qué animal es?", "Es {a}.")),
        "No estoy seguro de qué es; puede ser {a}.", "Es {k}; puede ser {a}, pero no estoy seguro.",
    ),
    "fr": (
        (("Qu'est-ce que c'est ?", "C'est {a}."), ("Que montre l'image ?", "L'image montre {a}."), ("Que vois-tu ?", "Je vois {a}."),
         ("Qu'y a-t-il sur la photo ?", "Sur la photo, il y a {a}."), ("Que montre la photo ?", "La photo montre {a}."),
         ("Quel animal est-ce ?", "C'est {a}.")),
        "Je ne suis pas sûr de ce que c'est ; c'est peut-être {a}.", "C'est {k} ; c'est peut-être {a}, mais je ne suis pas sûr.",
    ),
}  # fmt: skip


def foreign(reading: Reading, language: Language, rng: np.random.Generator) -> tuple[str, str] | None:
    """Naming in another language, with the names that stand in the line."""
    if reading.void or reading.sense not in ("picture", "video"):
        return None
    naming, unsure, kind = _FOREIGN[language.code]
    question, pattern = naming[int(rng.integers(len(naming)))]
    a = f" {language.word('or')} ".join(language.noun(one.name) for one in reading.names)
    if reading.sure:
        return question, pattern.format(a=a)
    return question, kind.format(a=a, k=language.noun(reading.kind)) if reading.kind else unsure.format(a=a)


def draw_talk(reading: Reading, vocabulary: TalkVocabulary, rng: np.random.Generator, most: int = 4) -> Talk:
    """Up to `most` questions about one reading, a naming question among them more often than not."""
    asks: list[Callable[[], tuple[str, str] | None]] = [
        lambda: ask_name(reading, rng),
        lambda: ask_yes_no(reading, vocabulary, rng),
    ]
    odds = [0.24, 0.24]
    asks.append(lambda: ask_describe(reading, rng))
    odds.append(0.12)
    if reading.sense in ("picture", "video"):
        asks += [
            lambda: ask_colour(reading, rng),
            lambda: ask_count(reading, vocabulary, rng),
            lambda: ask_where(reading, rng),
        ]
        asks += [lambda: ask_bigger(reading, rng), lambda: ask_json(reading, rng)]
        odds += [0.16, 0.1, 0.1, 0.06, 0.05]
    talk: Talk = []
    count = int(rng.integers(2, most + 1))
    shares = np.array(odds) / sum(odds)
    for _ in range(3 * count):
        if len(talk) == count:
            break
        asked = asks[int(rng.choice(len(asks), p=shares))]()
        if asked is not None and asked[0] not in [question for question, _ in talk]:
            talk.append(asked)
    return talk or [ask_name(reading, rng)]


_BOTH = (
    "What do you see and what do you hear?", "What is in the picture, and what is the sound?", "What are these?",
    "What is in the first, and what is in the second?", "What do the two pictures show?",
    "What is in the first picture, and what is in the second?", "What is this?", "Describe both.",
)  # fmt: skip


def ask_both(first: Reading, second: Reading, rng: np.random.Generator) -> tuple[str, str]:
    """Each medium by its own sense, in order."""
    question = str(rng.choice(_BOTH))
    if first.sense == second.sense:
        return question, f"The first {_medium(first)} {_said(first)}, and the second {_said(second)}."
    return question, f"The {_medium(first)} {_said(first)}, and the {_medium(second)} {_said(second)}."


def _medium(reading: Reading) -> str:
    return {**_SHOWN, "sound": "sound", "motion": "movement", "text": "text"}[reading.sense]


def _said(reading: Reading) -> str:
    verb = "shows" if reading.sense in _SHOWN else "is"
    if reading.void:
        return f"is {reading.void}"
    candidates = " or ".join(english_noun(one.name) for one in reading.names)
    return f"{verb} {candidates}" if reading.sure else f"may be {candidates}, which I am not sure of"


def language_drawn(rng: np.random.Generator, share: float) -> Language:
    return LANGUAGES[str(rng.choice(["de", "es", "fr"]))] if rng.random() < share else ENGLISH
