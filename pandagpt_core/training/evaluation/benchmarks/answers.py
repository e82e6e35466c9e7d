"""Short answers: VQA v2 and OK-VQA (soft accuracy), GQA (equal text), VSR and Hateful Memes (yes or no)."""

from collections.abc import Mapping, Sequence
from typing import Any

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.evaluation.benchmarks.base import Figure, Files, Question, entry, read_json, read_lines
from pandagpt_core.training.evaluation.benchmarks.vqa_text import agreement, alike
from pandagpt_core.training.evaluation.measures import Mean, rate

SHORT = "[vqa] Based on the image, respond to this question with a short answer: {}"
TRUE = "[vqa] Based on the image, is this statement true or false? {}"
HATEFUL = '[vqa] This is an image with: "{}" written on it. Is it hateful? Answer:'


def read_vqa(files: Files) -> list[Question]:
    """Questions and annotations as VQA v2 and OK-VQA publish them: two files joined by `question_id`.

    A picture is COCO_<data_subtype>_<id of 12 digits>.jpg, or `image` of the question where it names one.
    """
    if files.questions is None:
        raise InvalidRequest("VQA has two files: name the questions too")
    asked = read_json(files.questions)
    subset = asked.get("data_subtype", "val2014")
    people = {one["question_id"]: one for one in read_json(files.annotations)["annotations"]}

    def question(one: Mapping[str, Any]) -> Question:
        answers = [given["answer"] for given in people[one["question_id"]]["answers"]]
        image = one.get("image") or f"COCO_{subset}_{int(one['image_id']):012d}.jpg"
        return Question(image, SHORT.format(one["question"]), answers)

    return [entry(files.questions, at, one, question) for at, one in enumerate(asked["questions"])]


def score_vqa(questions: Sequence[Question], answers: Sequence[str]) -> Mapping[str, Figure]:
    each = [agreement(answer, question.truth) for question, answer in zip(questions, answers, strict=True)]
    return {"soft accuracy": Mean(tuple(each))}


def read_gqa(files: Files) -> list[Question]:
    """{"<id>": {"imageId", "question", "answer"}, ...}, as GQA publishes its balanced questions."""
    data = read_json(files.annotations)

    def question(one: Mapping[str, Any]) -> Question:
        return Question(f"{one['imageId']}.jpg", SHORT.format(one["question"]), one["answer"])

    return [entry(files.annotations, key, one, question) for key, one in data.items()]


def score_gqa(questions: Sequence[Question], answers: Sequence[str]) -> Mapping[str, Figure]:
    return {"accuracy": rate([alike(a) == alike(q.truth) for q, a in zip(questions, answers, strict=True)])}


def read_vsr(files: Files) -> list[Question]:
    """A line an entry: {"image", "caption", "label": 0 or 1} (Liu et al. 2023)."""

    def question(one: Mapping[str, Any]) -> Question:
        return Question(one["image"], TRUE.format(one["caption"]), bool(int(one["label"])))

    lines = read_lines(files.annotations)
    return [entry(files.annotations, at, one, question) for at, one in enumerate(lines)]


def read_hateful_memes(files: Files) -> list[Question]:
    """A line an entry: {"img", "text", "label": 0 or 1} (Kiela et al. 2020)."""

    def question(one: Mapping[str, Any]) -> Question:
        return Question(one["img"], HATEFUL.format(one["text"]), bool(int(one["label"])))

    lines = read_lines(files.annotations)
    return [entry(files.annotations, at, one, question) for at, one in enumerate(lines)]


def score_yes_no(questions: Sequence[Question], answers: Sequence[str]) -> Mapping[str, Figure]:
    """An answer that begins with neither yes, no, true nor false is wrong."""
    read = [_truth(answer) for answer in answers]
    hits = [one is not None and one == question.truth for question, one in zip(questions, read, strict=True)]
    return {"accuracy": rate(hits, chance=0.5), "answers yes or no": rate([one is not None for one in read])}


def _truth(answer: str) -> bool | None:
    first = alike(answer).split(" ")[0]
    return {"yes": True, "true": True, "no": False, "false": False}.get(first)
