"""Captions of COCO and Flickr30k: CIDEr-D against all captions of a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

from pandagpt_core.training.evaluation.benchmarks.base import Figure, Files, Question, entry, read_annotations
from pandagpt_core.training.evaluation.benchmarks.cider import cider
from pandagpt_core.training.evaluation.benchmarks.figures import interval

PROMPT = "[caption] please describe this image"


def read_coco_captions(files: Files) -> list[Question]:
    """COCO's file: `images` with `file_name`, `annotations` with `image_id` and `caption`."""
    data = read_annotations(files.annotations)
    captions: dict[Any, list[str]] = {}
    for one in data["annotations"]:
        captions.setdefault(one["image_id"], []).append(one["caption"])

    def question(one: Mapping[str, Any]) -> Question:
        return Question(one["file_name"], PROMPT, captions[one["id"]])

    return [entry(files.annotations, one["id"], one, question) for one in data["images"]]


def read_flickr30k(files: Files) -> list[Question]:
    """Karpathy's split: `images` with `filename`, `split` and `sentences` with `raw`; those of the split test."""
    data = [one for one in read_annotations(files.annotations)["images"] if one["split"] == "test"]

    def question(one: Mapping[str, Any]) -> Question:
        return Question(one["filename"], PROMPT, [sentence["raw"] for sentence in one["sentences"]])

    return [entry(files.annotations, at, one, question) for at, one in enumerate(data)]


def score_captions(questions: Sequence[Question], answers: Sequence[str]) -> Mapping[str, Figure]:
    return {"CIDEr-D": interval(cider(answers, [question.truth for question in questions]))}
