"""Boxes as MiniGPT-v2 writes them (Chen et al. 2023, section 3.1): places on a grid of 0 to 100, as text.

`<p>a dog</p> {<10><20><55><80>}<delim>{<60><5><99><40>}`: a phrase, then its boxes: left, top, right, bottom.

A box is read only where the text is one: braces around four whole numbers in angle brackets, spaces between them
allowed. Its corners are put in order and held within the grid. Braces with numbers that are no box, and braces that the
answer's end cuts off, are listed apart and never guessed. Standard library only.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pandagpt_core.types import Box

GRID = 100
DELIMITER = "<delim>"
LONGEST = 64  # characters between braces; four numbers take 24
MOST_BOXES = 256  # of one answer, malformed ones included: later ones are not listed

_TOKEN = re.compile(rf"<p>|</p>|{DELIMITER}|\{{[^{{}}]{{0,{LONGEST}}}\}}")
_BOX = re.compile(r"\{\s*" + r"\s*".join([r"<\s*(-?\d{1,4})\s*>"] * 4) + r"\s*\}")
_CUT_OFF = re.compile(rf"\{{[^{{}}]{{0,{LONGEST}}}$")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Located:
    """A box with the phrase before it, None where there is none. `box` is of 0 to 1 of the picture's sides."""

    label: str | None
    box: Box


@dataclass(frozen=True, slots=True)
class Boxes:
    """All of an answer: its boxes in order, and the text of what looks like one and is none."""

    objects: tuple[Located, ...] = ()
    malformed: tuple[str, ...] = ()


class BoxReader:
    """Reads an answer as it comes: `feed` gives each box once its closing brace is there."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0  # the text before it has been read
        self._phrase: int | None = None  # start of an open phrase
        self._label: str | None = None
        self._label_end = 0  # index at which a box must follow, spaces aside, to bear the label
        self._objects: list[Located] = []
        self._malformed: list[str] = []

    def feed(self, text: str) -> tuple[Located, ...]:
        """The boxes that `text`, put to what came before, completes."""
        self._text += text
        before = len(self._objects)
        for match in _TOKEN.finditer(self._text, self._at):
            self._at = match.end()
            self._read(match.group(), match.start(), match.end())
        self._at = max(self._at, len(self._text) - LONGEST - 2)  # no token that is not whole yet is longer
        return tuple(self._objects[before:])

    def finish(self) -> Boxes:
        """All boxes of the text. Its end may cut a box off."""
        tail = _CUT_OFF.search(self._text, self._at)
        if tail is not None and _DIGIT.search(tail.group()):
            self._reject(tail.group())
        return Boxes(tuple(self._objects), tuple(self._malformed))

    def _read(self, token: str, start: int, end: int) -> None:
        if token == "<p>":
            self._phrase, self._label = end, None
        elif token == "</p>":
            self._end_phrase(start, end)
        elif token == DELIMITER:
            self._label_end = end if self._follows(start) else self._label_end
        else:
            self._read_braces(token, start, end)

    def _end_phrase(self, start: int, end: int) -> None:
        """A second end right behind the first means nothing."""
        if self._phrase is not None:
            self._label, self._phrase = self._text[self._phrase : start].strip() or None, None
            self._label_end = end
        elif self._follows(start):
            self._label_end = end

    def _read_braces(self, token: str, start: int, end: int) -> None:
        box = parse_box(token)
        if box is None and not _DIGIT.search(token):
            return
        if not self._follows(start):
            self._label = None
        self._phrase, self._label_end = None, end
        if box is None:
            self._reject(token)
        elif self._has_room():
            self._objects.append(Located(self._label, box))

    def _follows(self, start: int) -> bool:
        return self._text[self._label_end : start].isspace() or self._label_end == start

    def _reject(self, text: str) -> None:
        if self._has_room():
            self._malformed.append(text)

    def _has_room(self) -> bool:
        return len(self._objects) + len(self._malformed) < MOST_BOXES


def read_boxes(text: str) -> Boxes:
    """The boxes of a whole answer."""
    reader = BoxReader()
    reader.feed(text)
    return reader.finish()


def parse_box(text: str) -> Box | None:
    """`{<10><20><55><80>}` as 0 to 1, within the picture, left before right and top before bottom; None for others."""
    match = _BOX.fullmatch(text)
    if match is None:
        return None
    left, top, right, bottom = (min(max(int(side), 0), GRID) / GRID for side in match.groups())
    return ordered((left, top, right, bottom))


def ordered(box: Box) -> Box:
    left, top, right, bottom = box
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


def write_box(box: Box) -> str:
    """0 to 1 as the grid's text. Places are cut to whole steps, as in the data that the model learned from."""
    return "{" + "".join(f"<{int(side * GRID + 1e-9)}>" for side in box) + "}"


def write_boxes(boxes: Iterable[Box]) -> str:
    return DELIMITER.join(map(write_box, boxes))


def to_pixels(box: Box, width: int, height: int) -> Box:
    """0 to 1 as pixels of a picture of these sides."""
    left, top, right, bottom = box
    return left * width, top * height, right * width, bottom * height


def to_norm(box: Box, width: int, height: int) -> Box:
    """Pixels of a picture of these sides as 0 to 1."""
    left, top, right, bottom = box
    return left / width, top / height, right / width, bottom / height


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0 where both are without area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    union = area(one) + area(other) - shared
    return shared / union if union > 0 else 0.0


def area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def best_iou(box: Box, truths: Sequence[Box]) -> float:
    return max((iou(box, truth) for truth in truths), default=0.0)
