"""Short answers: VQA v2 and OK-VQA (soft accuracy), GQA (equal text), VSR and Hateful Memes (yes or no)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.evaluation.benchmarks.base import (
    Figure,
    Files,
    Question,
    entry,
    read_annotations,
    read_lines,
)
from pandagpt_core.training.evaluation.measures import Mean, rate

# Parts of an answer that VQA's comparison leaves out or makes alike.
ARTICLES = frozenset({"a", "an", "the"})
_COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED)} | {"none": "0"}
_WITH_APOSTROPHE = """
    ain't aren't can't couldn't could've didn't doesn't don't hadn't hasn't haven't he'd he's how'd how's i'd i'm i've
    isn't it'd it'll let's ma'am might've mightn't mustn't must've needn't not've o'clock oughtn't shan't she's
    should've shouldn't somebody's someone's something's that'd that's there'd there're there's they'd they'll they're
    they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd who'll who's
    who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
CONTRACTIONS = {word.replace("'", ""): word for word in _WITH_APOSTROPHE.split()}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGITS_COMMA = re.compile(r"(\d)(,)(\d)")
_PERIOD = re.compile(r"\.(?!\d)")
SHORT = "[vqa] Based on the image, respond to this question with a short answer: {}"
TRUE = "[vqa] Based on the image, is this statement true or false? {}"
HATEFUL = '[vqa] This is an image with: "{}" written on it. Is it hateful? Answer:'


def read_vqa(files: Files) -> list[Question]:
    """Questions and annotations as VQA v2 and OK-VQA publish them: two files joined by `question_id`.

    A picture is COCO_<data_subtype>_<id of 12 digits>.jpg, or `image` of the question where it names one.
    """
    if files.questions is None:
        raise InvalidRequest("VQA has two files: name the questions too")
    asked = read_annotations(files.questions)
    subset = asked.get("data_subtype", "val2014")
    people = {one["question_id"]: one for one in read_annotations(files.annotations)["annotations"]}

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
    data = read_annotations(files.annotations)

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


def alike(text: str) -> str:
    """The text as it is compared: lower case, no punctuation or article, numbers as digits, contractions whole."""
    text = text.replace("\n", " ").replace("\t", " ").strip().lower()
    text = _without_punctuation(text)
    kept = [NUMBERS.get(word, word) for word in text.split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in kept if word not in ARTICLES)


def agreement(answer: str, people: Sequence[str]) -> float:
    """Agreement of an answer with people's, of 0 to 1, as VQA's evaluation has it (Antol et al. 2015).

    It counts by how many of the other nine people gave it: min(1, n / 3), averaged over leaving each person out.
    `people` are usually ten answers.
    """
    ours, theirs = alike(answer), [alike(one) for one in people]
    if len(theirs) < 2:
        return float(ours in theirs)
    shares = [min(1.0, sum(ours == one for one in _without(theirs, left_out)) / 3) for left_out in range(len(theirs))]
    return sum(shares) / len(shares)


def _without(items: Sequence[str], index: int) -> list[str]:
    return [*items[:index], *items[index + 1 :]]


def _without_punctuation(text: str) -> str:
    """A mark that stands beside a space anywhere goes; one that only stands between letters becomes a space."""
    has_comma_number = _DIGITS_COMMA.search(text) is not None
    kept = text
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        kept = kept.replace(mark, "" if beside_space or has_comma_number else " ")
    return _PERIOD.sub("", kept)
