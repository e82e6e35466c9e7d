"""The things and colours that panda-locate names, and the parts of a scene."""

from dataclasses import dataclass
from types import MappingProxyType

from pandagpt_core.types import Box

NAMES = (
    "dog", "cat", "horse", "cow", "pig", "sheep", "elephant", "bear", "rabbit", "frog", "duck", "owl", "penguin",
    "fish", "dolphin", "whale", "turtle", "snake", "snail", "butterfly", "spider", "ladybug", "apple", "banana",
    "lemon", "pear", "strawberry", "watermelon", "carrot", "tomato", "pumpkin", "mushroom", "pizza", "hamburger",
    "doughnut", "cake", "ice cream", "car", "bus", "truck", "bicycle", "motorcycle", "airplane", "helicopter",
    "rocket", "sailboat", "guitar", "violin", "trumpet", "umbrella", "key", "book", "chair", "hammer", "bell",
    "balloon", "camera", "television", "tree", "cactus", "sunflower", "soccer ball", "basketball", "crown",
)  # fmt: skip
# Mean colours of what is tinted, red green blue; a thing of no such colour has those that it was drawn in.
COLOURS = MappingProxyType(
    {
        "red": (214, 40, 40),
        "orange": (245, 130, 32),
        "yellow": (246, 215, 60),
        "green": (58, 160, 70),
        "blue": (44, 96, 214),
        "purple": (130, 60, 180),
        "pink": (246, 130, 190),
        "brown": (120, 78, 48),
    }
)
PLACES = (
    "top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right",
)  # fmt: skip
_IRREGULAR = MappingProxyType({"sheep": "sheep", "fish": "fish", "tomato": "tomatoes"})
_HISSING = ("s", "x", "ch", "sh")


@dataclass(frozen=True, slots=True)
class DrawnThing:
    """`name` and `colour` by their indices, -1 for no one colour; `box` of 0 to 1 of the picture's sides."""

    name: int
    colour: int
    box: Box

    @property
    def noun(self) -> str:
        return NAMES[self.name]

    @property
    def shade(self) -> str | None:
        return None if self.colour < 0 else tuple(COLOURS)[self.colour]

    @property
    def phrase(self) -> str:
        """As an answer calls it: "red apple"."""
        return self.noun if self.shade is None else f"{self.shade} {self.noun}"


def plural(noun: str) -> str:
    """Of a name in NAMES."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith(_HISSING):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"
