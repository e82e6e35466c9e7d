"""Questions about colour, number, place and size."""

import numpy as np

from pandagpt_core.perception.languages import english_noun
from pandagpt_core.perception.reading import Reading, grouped
from recipes.panda_mini.talks.words import NUMBERS, ON, TalkVocabulary, counted, joined, pick, plural
from recipes.panda_mini.talks.yes_no import names_in


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
        shades = reading.ground if part in ("sky", "grass", "sea", "wall") and reading.ground else reading.colours
        return f"What {word} {verb} the {part}?", f"I think it is {joined(shades)}."
    return choices[int(rng.integers(len(choices)))]


def _absent(reading: Reading, vocabulary: TalkVocabulary, rng: np.random.Generator) -> str:
    there = names_in(reading)
    return next(name for name in (pick(vocabulary.names, rng).name for _ in range(99)) if name not in there)


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
        return question, f"There are {NUMBERS[total]} things: {joined([counted(n, len(m)) for n, m in groups])}."
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
    answer = f"There is one {name}." if n == 1 else f"There are {NUMBERS[n]} {plural(name)}."
    return form.format(plural(name)), answer


def ask_where(reading: Reading, rng: np.random.Generator) -> tuple[str, str] | None:
    if not reading.things:
        return None
    name, members = grouped(reading.things)[int(rng.integers(len(grouped(reading.things))))]
    places = joined([ON[one.place] for one in members])
    if len(members) == 1:
        wrong = str(rng.choice([p for p in ("left", "right", "top", "bottom") if p not in members[0].place]))
        if rng.random() < 0.2:
            if rng.random() < 0.5:
                return f"Is the {name} {ON[members[0].place]}?", f"Yes, the {name} is {places}."
            return f"Is the {name} {ON[wrong]}?", f"No, the {name} is {places}."
        question = str(
            rng.choice(
                [f"Where is the {name}?", f"Where in the picture is the {name}?", f"Where do you see the {name}?"]
            )
        )
        if reading.sure and reading.names[0].name == name and reading.names[0].kinds and rng.random() < 0.25:
            name = reading.names[0].kinds[-1]
            question = f"Where is the {name}?"
        return question, f"The {name} is {places}."
    return f"Where are the {plural(name)}?", f"The {plural(name)} are {places}."


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
