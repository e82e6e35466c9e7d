"""Questions about a picture and answers that name it first, which the small default learns.

All questions are of pictures. None is of sounds, heat, depth or motion: answers about those are zero-shot.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from recipes.panda_mini.concepts import Concept

# Each way to ask has its own way to answer, so that little is left to chance and the thing is what must be learned.
NAMING: Mapping[str, str] = {
    "What is this?": "This is {a}.",
    "What is it?": "It is {a}.",
    "What is in the picture?": "The picture shows {a}.",
    "What is in the image?": "The image shows {a}.",
    "What is in the photo?": "The photo shows {a}.",
    "What does the picture show?": "The picture shows {a}.",
    "What does this show?": "This shows {a}.",
    "What do you see?": "I see {a}.",
    "What am I looking at?": "You are looking at {a}.",
    "What do you perceive?": "I perceive {a}.",
    "What could this be?": "This could be {a}.",
    "Which thing is this?": "This is {a}.",
    "Can you tell me what this is?": "This is {a}.",
    "Please identify this.": "This is {a}.",
    "Name it.": "It is {a}.",
    "Answer in a few words: what is this?": "{A}.",
}
DESCRIBING: Mapping[str, str] = {
    "Describe the picture.": "The picture shows {a}, {desc}.",
    "Describe what you see in one sentence.": "I see {a}, {desc}.",
    "Describe this.": "This is {a}, {desc}.",
    "Describe this image.": "The image shows {a}, {desc}.",
    "Describe the photo.": "The photo shows {a}, {desc}.",
    "Tell me about this.": "This is {a}, {desc}.",
    "What is this? Explain it in one sentence.": "This is {a}, {desc}.",
}
_KIND = ("What kind of thing is it?", "What category does it belong to?", "What sort of thing is this?")
_IS_IT = ("Is this {a}?", "Is it {a}?", "Do you see {a}?", "Does the picture show {a}?")
_AFTER = ("What was it again?", "And what is it?", "So what is this?")
NO_PICTURE = "No picture was given, so I cannot say."

# fmt: off
_NO_ARTICLE = frozenset((
    "rain", "wind", "applause", "fireworks", "tennis", "badminton", "baseball", "basketball", "grapes",
    "cherries", "scissors", "glasses", "maracas", "corn", "garlic", "broccoli", "bread", "cheese", "coffee",
    "beer", "wine", "fire", "ice cream",
))
# fmt: on
_THE = frozenset({"sun", "moon"})
_KIND_NAMES = {"instrument": "musical instrument", "nature": "thing of nature", "weather": "kind of weather"}

# Kinds that are asked after: the categories of which they are true, and those of which people would disagree.
KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "an animal": (frozenset({"animal", "bird", "insect", "sea animal"}), frozenset()),
    "a bird": (frozenset({"bird"}), frozenset()),
    "an insect": (frozenset({"insect"}), frozenset()),
    "a musical instrument": (frozenset({"instrument"}), frozenset({"object"})),
    "a vehicle": (frozenset({"vehicle"}), frozenset()),
    "a fruit": (frozenset({"fruit"}), frozenset({"vegetable"})),
    "a vegetable": (frozenset({"vegetable"}), frozenset({"fruit", "plant"})),
    "food": (
        frozenset({"food", "fruit", "vegetable"}),
        frozenset({"drink", "animal", "bird", "insect", "sea animal", "plant"}),
    ),
    "a drink": (frozenset({"drink"}), frozenset({"fruit"})),
    "a plant": (frozenset({"plant"}), frozenset({"fruit", "vegetable", "food"})),
    "a tool": (frozenset({"tool"}), frozenset({"object", "instrument"})),
}
_DISPUTED = frozenset({"spider", "mushroom"})  # of no kind above without a word of explanation
# Names of one line may be taken for one another: neither yes nor no would be wrong.
_ALIKE = (
    {"car", "taxi", "police car"},
    {"truck", "fire engine", "ambulance", "police car", "car"},
    {"ship", "sailboat"},
    {"tree", "palm tree"},
    {"pig", "boar"},
    {"rooster", "chicken"},
    {"bicycle", "cycling"},
    {"telephone", "mobile phone"},
    {"fish", "shark"},
    {"mountain", "volcano"},
    {"alarm clock", "watch", "bell"},
    {"rain", "thunderstorm", "wind"},
    {"monkey", "gorilla"},
    {"duck", "goose", "swan"},
    {"walking", "running", "standing"},
)


def with_article(concept: Concept) -> str:
    """ "a dog", "an apple", "a unicorn", "rain", "the sun", "someone running"."""
    name = concept.name
    if concept.cat == "activity":
        return f"someone {name}"
    if name in _NO_ARTICLE:
        return name
    if name in _THE:
        return f"the {name}"
    return f"{'an' if name[0] in 'aeiou' and not name.startswith('uni') else 'a'} {name}"


def say(concept: Concept, others: Sequence[Concept], random: np.random.Generator) -> tuple[str, str]:
    """One question and its answer about a picture of `concept`: its name, its kind, or a yes or no."""
    odds = [weight for weight, _ in _FORMS]
    return _FORMS[int(random.choice(len(_FORMS), p=odds))][1](concept, others, random)


def say_both(first: Concept, second: Concept, random: np.random.Generator) -> tuple[str, str]:
    """A naming question about two things that are there at once."""
    question = str(random.choice(list(NAMING)))
    return question, _filled(NAMING[question], f"{with_article(first)} and {with_article(second)}", "")


def ask_of_nothing(concepts: Sequence[Concept], random: np.random.Generator) -> str:
    """A question of any form about a picture, for when there is none."""
    return say(concepts[int(random.integers(len(concepts)))], concepts, random)[0]


def ask_again(random: np.random.Generator) -> tuple[str, str]:
    """A later question of the same talk and the pattern of its answer."""
    return str(random.choice(_AFTER)), "It is {a}."


def _naming(concept: Concept, _others: Sequence[Concept], random: np.random.Generator) -> tuple[str, str]:
    question = str(random.choice(list(NAMING)))
    return question, _filled(NAMING[question], with_article(concept), concept.desc)


def _describing(concept: Concept, _others: Sequence[Concept], random: np.random.Generator) -> tuple[str, str]:
    question = str(random.choice(list(DESCRIBING)))
    return question, _filled(DESCRIBING[question], with_article(concept), concept.desc)


def _kind(concept: Concept, _others: Sequence[Concept], random: np.random.Generator) -> tuple[str, str]:
    kind = _KIND_NAMES.get(concept.cat, concept.cat)
    article = "" if kind in ("food", "clothing") else "an " if kind[0] in "aeiou" else "a "
    return str(random.choice(_KIND)), f"It is {article}{kind}: {with_article(concept)}."


def _is_it(concept: Concept, others: Sequence[Concept], random: np.random.Generator) -> tuple[str, str]:
    """Yes as often as no; half of the wrong guesses are of the same category."""
    asked, answer = concept, "Yes"
    if random.random() < 0.5:
        near = [c for c in others if c.cat == concept.cat and not alike(c, concept)]
        far = [c for c in others if c.cat != concept.cat and not alike(c, concept)]
        among = near if near and random.random() < 0.5 else far
        asked, answer = among[int(random.integers(len(among)))], "No"
    question = str(random.choice(_IS_IT)).format(a=with_article(asked))
    return question, f"{answer}, it is {with_article(concept)}."


def _is_kind(concept: Concept, others: Sequence[Concept], random: np.random.Generator) -> tuple[str, str]:
    """Yes as often as no; only of concepts that are of a kind that is asked after."""
    clear = [] if concept.name in _DISPUTED else [k for k, (_, doubt) in KINDS.items() if concept.cat not in doubt]
    yes = [kind for kind in clear if concept.cat in KINDS[kind][0]]
    no = [kind for kind in clear if concept.cat not in KINDS[kind][0]]
    if not (yes and no):
        return _is_it(concept, others, random)
    truly = random.random() < 0.5
    kind = str(random.choice(yes if truly else no))
    question = str(random.choice(_IS_IT)).format(a=kind)
    return question, f"{'Yes' if truly else 'No'}, it is {with_article(concept)}."


# Odds of each form of talk.
_FORMS: tuple[
    tuple[float, Callable[[Concept, Sequence[Concept], np.random.Generator], tuple[str, str]]],
    ...,
] = ((0.56, _naming), (0.18, _describing), (0.06, _kind), (0.12, _is_it), (0.08, _is_kind))


def alike(one: Concept, other: Concept) -> bool:
    """Whether the one might truly be called the other."""
    pair = {one.name, other.name}
    general = {"bird": "bird", "fish": "sea animal"}
    return (
        len(pair) == 1
        or any(pair <= group for group in _ALIKE)
        or any(general.get(a.name) == b.cat for a, b in ((one, other), (other, one)))
    )


def _filled(pattern: str, thing: str, desc: str) -> str:
    return pattern.format(a=thing, A=thing[0].upper() + thing[1:], desc=desc)
