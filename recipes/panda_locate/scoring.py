"""Rules to judge an answer: places at IoU 0.5, one to one; words exactly, but for case, an article and a full stop."""

import re
from collections.abc import Sequence

from pandagpt_core.boxes import iou, read_boxes
from pandagpt_core.types import Box
from recipes.panda_locate.questions import LocateQuestion
from recipes.panda_locate.things import NAMES

IOU = 0.5
_ARTICLE = re.compile(r"^(a|an|the) ")


def plain(text: str) -> str:
    return _ARTICLE.sub("", text.strip().rstrip(".").lower())


def found(boxes: Sequence[Box], truths: Sequence[Box]) -> int:
    """Number of the truths that have a box of their own, the best pairs first."""
    pairs = sorted(((iou(a, b), i, j) for i, a in enumerate(boxes) for j, b in enumerate(truths)), reverse=True)
    ours: set[int] = set()
    theirs: set[int] = set()
    for overlap, i, j in pairs:
        if overlap >= IOU and i not in ours and j not in theirs:
            ours.add(i)
            theirs.add(j)
    return len(theirs)


def score(question: LocateQuestion, answer: str) -> tuple[int, int, int]:
    """Hits, of how many that should be, and how many the answer has.

    Of detection boxes are counted, of grounding boxes with the right name; else whole answers.
    """
    return _JUDGES.get(question.kind, _exact)(question, answer)


def _exact(question: LocateQuestion, answer: str) -> tuple[int, int, int]:
    return int(plain(answer) == plain(question.answer)), 1, 1


def _name(question: LocateQuestion, answer: str) -> tuple[int, int, int]:
    """Of `identify` the name counts; the colour before it is another matter."""
    return int(plain(answer).endswith(question.truth[0].noun)), 1, 1


def _boxes(question: LocateQuestion, answer: str) -> tuple[int, int, int]:
    boxes = [one.box for one in read_boxes(answer).objects]
    truths = [thing.box for thing in question.truth]
    return found(boxes, truths), len(truths), len(boxes)


def _labelled(question: LocateQuestion, answer: str) -> tuple[int, int, int]:
    objects = read_boxes(answer).objects
    hits = 0
    for noun in NAMES:
        ours = [one.box for one in objects if (one.label or "").endswith(noun)]
        hits += found(ours, [thing.box for thing in question.truth if thing.noun == noun])
    return hits, len(question.truth), len(objects)


_JUDGES = {"refer": _boxes, "detection": _boxes, "grounding": _labelled, "identify": _name}
