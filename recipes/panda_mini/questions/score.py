"""Whether an answer is right: a rule for each kind of question."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.questions.table import Kind, TableQuestion

HEDGE = re.compile(
    r"\b(not sure|unsure|not certain|may be|might be|could be something|cannot tell|can't tell|cannot name|"
    r"hard to say|do not know|don't know|unclear|perhaps|possibly)\b"
)
COLOURS = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "violet",
    "pink",
    "brown",
    "black",
    "white",
    "grey",
    "gray",
    "tan",
    "beige",
    "gold",
    "golden",
    "teal",
)
PLACES = ("left", "right", "top", "bottom", "middle", "center", "centre", "upper", "lower")
_OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top", "upper": "lower", "lower": "upper"}
_OPPOSITE |= {"middle": "left", "center": "left", "centre": "left"}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NONE = ("no", "none", "nothing", "zero")
_ENGLISH = re.compile(r"\b(the|this|it|is|shows|picture|and|of)\b")
_MORE = (
    "person",
    "people",
    "man",
    "woman",
    "building",
    "house",
    "tower",
    "sky",
    "grass",
    "flower",
    "road",
    "street",
    "water",
    "table",
    "cup",
    "bowl",
    "bottle",
    "leaf",
    "leaves",
    "tree",
    "trees",
    "wall",
    "window",
    "boat",
    "bird",
    "dog",
    "cat",
    "car",
    "church",
    "castle",
    "animal",
    "fruit",
    "insect",
    "vehicle",
    "instrument",
)


@dataclass(frozen=True, slots=True)
class Score:
    """hits of stated facts (of one, but for a description); `hedged` where the answer is not sure."""

    hits: int
    of: int
    hedged: bool = False

    @property
    def right(self) -> bool:
        return self.hits == self.of

    @property
    def confident_wrong(self) -> bool:
        return not self.right and not self.hedged


def score(question: TableQuestion, answer: str) -> Score:
    """Of the last answer to the question's turns."""
    text = " ".join(answer.lower().split())
    hits, of = _RULES[question.kind](question, text)
    return Score(int(hits), of, bool(HEDGE.search(text)))


def says(text: str, word: str) -> int:
    """Index in the text of the word, or of a compound or plural that begins with it; -1 without one."""
    found = re.search(rf"(?<!\w){re.escape(word.lower())}", text)
    return found.start() if found else -1


def _any(text: str, words: Sequence[str]) -> bool:
    return any(says(text, word) >= 0 for word in words)


def _named(question: TableQuestion, text: str) -> tuple[bool, int]:
    """In the first sentence; of several that it might be, the first."""
    first = re.split(r"[.!?](?: |$)", text)
    said = next((part for part in first if _any(part, question.accepted[0])), "")
    if HEDGE.search(text):
        said = said.split(" or ")[0]
    return bool(said) and _any(said, question.accepted[0]), 1


def _loosely(question: TableQuestion, text: str) -> tuple[bool, int]:
    return _any(text, question.accepted[0]), 1


def _yes(question: TableQuestion, text: str) -> tuple[bool, int]:  # noqa: ARG001 - the table's functions take both
    return text.startswith("yes"), 1


def _no(question: TableQuestion, text: str) -> tuple[bool, int]:
    """A no that then says it is the very thing is none."""
    thing = question.turns[-1].lower().rstrip("?").split()[-1]
    denies = re.search(rf"\b(it is|this is|shows|there is|i see) (a |an |the )?{re.escape(thing)}\b", text)
    return text.startswith("no") and not text.startswith("not") and not denies, 1


def _colour(question: TableQuestion, text: str) -> tuple[bool, int]:
    named = [word for word in re.findall(r"[a-z]+", text) if word in COLOURS]
    return bool(named) and _any(named[0], question.accepted[0]), 1


def _count(question: TableQuestion, text: str) -> tuple[bool, int]:
    for word in re.findall(r"[a-z]+|\d+", text):
        number = "0" if word in _NONE else str(NUMBERS.index(word)) if word in NUMBERS else word
        if number.isdigit():
            return number in question.accepted[0] or word in question.accepted[0], 1
    return False, 1


def _where(question: TableQuestion, text: str) -> tuple[bool, int]:
    """All words of one accepted place, and not the opposite of any of them."""

    def there(place: str) -> bool:
        words = place.split()
        opposite = [_OPPOSITE[word] for word in words]
        return all(says(text, word) >= 0 for word in words) and not _any(text, opposite)

    return any(map(there, question.accepted[0])), 1


def _describe(question: TableQuestion, text: str) -> tuple[int, int]:
    """Of all names, colours, numbers and places that are stated, those that are true; nothing stated is one wrong."""
    stated = [word for word in vocabulary() if re.search(rf"(?<!\w){re.escape(word)}(s|es)?(?!\w)", text)]
    true = [word for word in stated if word in question.accepted[0] or f"{word}s" in question.accepted[0]]
    return len(true), max(1, len(stated))


def _both(question: TableQuestion, text: str) -> tuple[bool, int]:
    places = [min((at for word in words if (at := says(text, word)) >= 0), default=-1) for words in question.accepted]
    return -1 not in places and places == sorted(places), 1


def _json(question: TableQuestion, text: str) -> tuple[bool, int]:
    found = re.search(r"\{.*\}", text)
    try:
        said = json.loads(found.group()) if found else None
    except ValueError:
        return False, 1
    if not isinstance(said, dict):
        return False, 1
    wanted = [
        (group[0].partition(":")[0], (group[0].partition(":")[2].strip(), *group[1:])) for group in question.accepted
    ]
    return all(_any(str(said.get(key.strip(), "")).lower(), words) for key, words in wanted), 1


def _foreign(question: TableQuestion, text: str) -> tuple[bool, int]:
    return _any(text, question.accepted[0]) and len(_ENGLISH.findall(text)) < 2, 1


@cache
def vocabulary() -> tuple[str, ...]:
    """Words that a description may state: concepts, some more things, colours, numbers, places; longer ones first."""
    names = {concept.name for concept in load_concepts()} - {"orange", "standing", "walking", "running"}
    return tuple(sorted({*names, *_MORE, *COLOURS, *NUMBERS[1:7], *PLACES}, key=len, reverse=True))


_RULES: Mapping[Kind, Callable[[TableQuestion, str], tuple[int, int]]] = {
    "known": _named,
    "unknown": _named,
    "yes": _yes,
    "no": _no,
    "colour": _colour,
    "count": _count,
    "where": _where,
    "describe": _describe,
    "both": _both,
    "json": _json,
    "fact": _loosely,
    "follow": _loosely,
    "nothing": _loosely,
    "de": _foreign,
    "es": _foreign,
    "fr": _foreign,
}
