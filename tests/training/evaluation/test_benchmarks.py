"""Published benchmarks on made sets whose right figure is known by hand."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.training.evaluation.benchmarks import BENCHMARKS, BenchmarkOutcome, Files, run_benchmark
from pandagpt_core.training.evaluation.benchmarks.answers import agreement, alike
from pandagpt_core.training.evaluation.benchmarks.base import benchmark_table, write_outcome
from pandagpt_core.training.evaluation.benchmarks.cider import cider
from pandagpt_core.training.evaluation.benchmarks.figures import interval
from pandagpt_core.training.evaluation.measures import Rate
from pandagpt_core.types import Modality


class Scripted:
    """Answers by the picture's bytes and the prompt."""

    name = "scripted"
    modalities = frozenset({Modality.IMAGE})

    def __init__(self, answer: Callable[[str, str], str]) -> None:
        self._answer = answer
        self.prompts: list[str] = []

    def answer(self, asked: Sequence[Asked], tokens: int) -> list[str]:
        self.prompts += [one.question for one in asked]
        return [self._answer(one.media[0].data.decode(), one.question) for one in asked]

    def embed(self, media: Sequence[Held]) -> np.ndarray:
        raise NotImplementedError


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Files]:
    """Writes annotations, questions and pictures, whose bytes are their names."""

    def made(annotations: Any, *images: str, questions: Any = None) -> Files:
        for image in images:
            (tmp_path / image).write_text(image)
        lines = isinstance(annotations, tuple)
        text = "\n".join(map(json.dumps, annotations)) if lines else json.dumps(annotations)
        (tmp_path / "annotations.json").write_text(text)
        if questions is not None:
            (tmp_path / "questions.json").write_text(json.dumps(questions))
        return Files(tmp_path / "annotations.json", tmp_path, tmp_path / "questions.json" if questions else None)

    return made


def run(task: str, files: Files, model: Scripted) -> BenchmarkOutcome:
    return run_benchmark(BENCHMARKS[task], model, files)


def rate_of(outcome: BenchmarkOutcome, name: str) -> tuple[int, int]:
    figure = outcome.figures[name]
    assert isinstance(figure, Rate)
    return figure.hits, figure.n


def mean_of(outcome: BenchmarkOutcome, name: str) -> float:
    figure = outcome.figures[name]
    assert not isinstance(figure, Rate)
    return figure.mean


def test_refcoco_counts_boxes_that_overlap_by_more_than_a_half(make: Callable[..., Files]) -> None:
    sides = {"width": 200, "height": 100}
    box = {"bbox": [20, 10, 100, 50], **sides}  # 0.1 0.1 0.6 0.6
    files = make(
        [
            {"img_id": "COCO_train2014_000000000007_0", "sents": "right", **box},
            {"img_id": "COCO_train2014_000000000007_1", "sents": "half", **box},
            {"img_id": "b.jpg", "sents": "nothing", **box},
        ],
        "COCO_train2014_000000000007.jpg",
        "b.jpg",
    )
    said = {"right": "{<11><10><60><60>}", "half": "{<10><10><60><35>}", "nothing": "there is none"}
    model = Scripted(lambda _, prompt: said[prompt.rpartition(" ")[2]])
    outcome = run("refcoco", files, model)
    assert model.prompts[0] == "[refer] give me the location of right"
    assert rate_of(outcome, "accuracy at IoU 0.5") == (1, 3)  # exactly a half is not more than a half
    assert rate_of(outcome, "answers with a box") == (2, 3)


def test_vqa_averages_agreement_with_people(make: Callable[..., Files]) -> None:
    questions = {
        "data_subtype": "val2014",
        "questions": [
            {"question_id": 1, "image_id": 42, "question": "What colour?"},
            {"question_id": 2, "image_id": 42, "question": "How many?"},
        ],
    }
    people = [
        {"question_id": 2, "answers": [{"answer": "2"}] * 2 + [{"answer": "3"}] * 8},
        {"question_id": 1, "answers": [{"answer": "red"}] * 10},
    ]
    files = make({"annotations": people}, "COCO_val2014_000000000042.jpg", questions=questions)
    outcome = run("vqa", files, Scripted(lambda _, prompt: "Red." if "colour" in prompt else "two"))
    # "2" was given by two of ten: 8 leave-one-out sets have 2 of 3, two have 1 of 3.
    assert mean_of(outcome, "soft accuracy") == pytest.approx((1 + (8 * 2 / 3 + 2 * 1 / 3) / 10) / 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Red Car.", "red car"),
        ("two", "2"),
        ("none", "0"),
        ("dont know", "don't know"),
        ("1,000", "1000"),
        ("2.5", "2.5"),
        ("black/white", "black white"),
        ("yes, it is", "yes it is"),
        ("an\tapple\n", "apple"),
    ],
)
def test_answers_are_compared_as_the_evaluation_page_compares_them(text: str, expected: str) -> None:
    assert alike(text) == expected


def test_three_people_are_enough_for_full_agreement() -> None:
    assert agreement("cat", ["cat"] * 4 + ["dog"] * 6) == 1.0
    assert agreement("cat", ["dog"] * 10) == 0.0
    assert agreement("cat", ["Cat"]) == 1.0


def test_gqa_wants_equal_text(make: Callable[..., Files]) -> None:
    entries = {
        "7": {"imageId": "a", "question": "Left?", "answer": "left"},
        "8": {"imageId": "a", "question": "Right?", "answer": "right"},
    }
    outcome = run("gqa", make(entries, "a.jpg"), Scripted(lambda *_: "The left"))
    assert rate_of(outcome, "accuracy") == (1, 2)


@pytest.mark.parametrize(("task", "image", "text"), [("vsr", "image", "caption"), ("hm", "img", "text")])
def test_yes_and_no_are_read_at_the_beginning(make: Callable[..., Files], task: str, image: str, text: str) -> None:
    lines = tuple(
        {image: f"{name}.jpg", text: name, "label": label} for name, label in zip("abcd", (1, 0, 1, 0), strict=True)
    )
    said = {"a.jpg": "Yes, it is", "b.jpg": "true", "c.jpg": "I cannot say", "d.jpg": "No."}
    outcome = run(task, make(lines, *said), Scripted(lambda picture, _: said[picture]))
    assert rate_of(outcome, "accuracy") == (2, 4)
    assert rate_of(outcome, "answers yes or no") == (3, 4)


# Of pycocoevalcap 1.2, whose Cider was run once on these very words.
CAPTIONS = ("a dog runs in the grass", "a man sits at a table with food on it", "a red car")
REFERENCES = (
    ("a dog runs on the grass", "the dog is running in a field of green grass"),
    ("two people sit at a table", "a man and a woman at a table with food"),
    ("a red car parked on the street",),
)
PUBLISHED = (2.7437853751192005, 3.2151174037481924, 3.514072100013705)


def test_cider_is_that_of_the_published_scripts() -> None:
    assert cider(CAPTIONS, REFERENCES) == pytest.approx(PUBLISHED)


def test_captions_of_coco_and_of_flickr_are_scored_alike(make: Callable[..., Files]) -> None:
    model = Scripted(lambda picture, _: CAPTIONS[int(picture[0])])
    names = [f"{index}.jpg" for index in range(3)]
    coco = {
        "images": [{"id": index, "file_name": name} for index, name in enumerate(names)],
        "annotations": [{"image_id": i, "caption": text} for i, texts in enumerate(REFERENCES) for text in texts],
    }
    found = run("caption", make(coco, *names), model)
    assert mean_of(found, "CIDEr-D") == pytest.approx(sum(PUBLISHED) / 3)
    images = [
        {"filename": name, "split": "test", "sentences": [{"raw": text} for text in texts]}
        for name, texts in zip(names, REFERENCES, strict=True)
    ]
    flickr = {"images": [*images, {"filename": "gone.jpg", "split": "train", "sentences": []}]}
    assert mean_of(run("flickr", make(flickr), model), "CIDEr-D") == pytest.approx(sum(PUBLISHED) / 3)


def test_a_bootstrap_interval_holds_the_mean_and_shrinks_with_the_spread() -> None:
    wide, narrow = interval([0.0, 2.0] * 20), interval([0.9, 1.1] * 20)
    assert wide.interval[0] < wide.mean < wide.interval[1]
    assert narrow.interval[1] - narrow.interval[0] < wide.interval[1] - wide.interval[0]
    assert interval([1.0] * 5).interval == (1.0, 1.0)


def test_the_outcome_is_written_with_every_answer(make: Callable[..., Files], tmp_path: Path) -> None:
    entries = {"7": {"imageId": "a", "question": "Left?", "answer": "left"}}
    outcome = run("gqa", make(entries, "a.jpg"), Scripted(lambda *_: "left"))
    assert "| accuracy | 1 | 100.0 % | 20.7 to 100.0 |" in benchmark_table(outcome)
    figures, answers = write_outcome(outcome, tmp_path / "out")
    assert json.loads(figures.read_text())["figures"]["accuracy"]["hits"] == 1
    assert json.loads(answers.read_text())["answer"] == "left"


@pytest.mark.parametrize(
    ("task", "annotations", "words"),
    [
        ("gqa", {"7": {"question": "x"}}, "entry 7 is not as expected"),
        ("gqa", {"7": {"imageId": "../../etc/a", "question": "x", "answer": "y"}}, "is not below the folder"),
        ("refcoco", [{"img_id": "a", "sents": "x", "bbox": [1, 2]}], "entry 0 is not as expected"),
        ("vqa", {"annotations": []}, "name the questions too"),
        ("gqa", {}, "holds no question of gqa"),
        ("gqa", {"7": {"imageId": "gone", "question": "x", "answer": "y"}}, "gone.jpg: No such file"),
    ],
)
def test_files_that_are_not_the_benchmarks_are_named(
    make: Callable[..., Files], task: str, annotations: Any, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        run(task, make(annotations), Scripted(lambda *_: ""))
