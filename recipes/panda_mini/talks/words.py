"""Words that questions and answers share: colours, places, numbers, plurals, and the names to draw from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pandagpt_core.perception.languages import english_noun
from pandagpt_core.perception.reading import NamedConcept

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray")
PLACES = ("left", "right", "top", "bottom", "middle", "top left", "top right", "bottom left", "bottom right")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
ON = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
ON |= {"middle": "in the middle"} | {place: f"at the {place}" for place in PLACES if " " in place}
SHOWN: Mapping[str, str] = {"picture": "picture", "video": "video", "depth": "depth map", "heat": "thermal picture"}
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


def counted(name: str, n: int) -> str:
    if n == 1:
        return english_noun(name)
    return f"{NUMBERS[n]} {plural(name)}"


def pick(pool: Sequence[NamedConcept], rng: np.random.Generator) -> NamedConcept:
    return pool[int(rng.integers(len(pool)))]
