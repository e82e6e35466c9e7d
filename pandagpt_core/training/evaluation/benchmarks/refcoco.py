"""RefCOCO, RefCOCO+, RefCOCOg (Yu et al. 2016): a phrase's box, right where it shares more than half with the truth."""

from collections.abc import Mapping, Sequence
from typing import Any

from pandagpt_core.boxes import best_iou, read_boxes, to_norm
from pandagpt_core.training.evaluation.benchmarks.base import Figure, Files, Question, entry, read_annotations
from pandagpt_core.training.evaluation.measures import rate

OVERLAP = 0.5
PROMPT = "[refer] give me the location of {}"


def read_refcoco(files: Files) -> list[Question]:
    """A list of {"img_id", "sents", "bbox": [x, y, w, h], "width", "height"}: one phrase an entry, as MiniGPT-v2's
    evaluation files have it. A picture's name ends in .jpg; an id that goes on behind it (COCO_..._0) is cut there."""
    data = read_annotations(files.annotations)
    return [entry(files.annotations, index, one, _question) for index, one in enumerate(data)]


def score_refcoco(questions: Sequence[Question], answers: Sequence[str]) -> Mapping[str, Figure]:
    """The first box of an answer counts; an answer without one is wrong."""
    hits, found = [], []
    for question, answer in zip(questions, answers, strict=True):
        boxes = read_boxes(answer).objects
        found.append(bool(boxes))
        hits.append(bool(boxes) and best_iou(boxes[0].box, [question.truth]) > OVERLAP)
    return {"accuracy at IoU 0.5": rate(hits), "answers with a box": rate(found)}


def _question(one: Mapping[str, Any]) -> Question:
    x, y, width, height = (float(side) for side in one["bbox"])
    truth = to_norm((x, y, x + width, y + height), int(one["width"]), int(one["height"]))
    phrase = one["sents"] if isinstance(one["sents"], str) else one["sents"][0]
    return Question(_image(str(one["img_id"])), PROMPT.format(phrase), truth)


def _image(name: str) -> str:
    """COCO_train2014_000000581857_0 -> COCO_train2014_000000581857.jpg"""
    if name.startswith("COCO_"):
        return "_".join(name.split("_")[:3]) + ".jpg"
    return name if "." in name else f"{name}.jpg"
