"""The committed model reads its own scene; a person who looked at it wrote its things down."""

from pathlib import Path

import pytest

from pandagpt_core.boxes import iou, read_boxes
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.training.evaluation.local import LocalModel
from pandagpt_core.types import Box, Modality
from tests.exact import exact_runtime

pytestmark = pytest.mark.timeout(900)  # it loads the language model
SIDE = 448
TRUTH: dict[str, Box] = {
    "cow": (83, 5, 181, 104),
    "crown": (260, 2, 341, 80),
    "soccer ball": (187, 80, 299, 194),
    "truck": (79, 122, 189, 204),
    "motorcycle": (299, 93, 404, 166),
}
ANSWERS = {
    "[vqa] what colour is the soccer ball?": "pink",
    "[vqa] what colour is the truck?": "brown",
    "[vqa] how many things are there?": "5",
    "[vqa] how many cows are there?": "1",
    "[vqa] where is the cow?": "top left",
    "[vqa] where is the soccer ball?": "top",
}


@pytest.fixture(scope="module")
def model(root: Path, smollm2: Tokenizer) -> LocalModel:
    assert smollm2.size > 1000  # skipped without its package
    return LocalModel(exact_runtime(root / "models" / "panda-locate"))


@pytest.fixture(scope="module")
def scene(root: Path) -> Held:
    return Held(Modality.IMAGE, (root / "models" / "panda-locate" / "scene.png").read_bytes(), name="scene.png")


def overlap(box: Box, name: str) -> float:
    left, top, right, bottom = (side / SIDE for side in TRUTH[name])
    return iou(box, (left, top, right, bottom))


def test_it_finds_and_names_what_is_in_its_scene(model: LocalModel, scene: Held) -> None:
    [answer] = model.answer([Asked("[grounding] please describe this image in details", (scene,))], 200)
    found = [(one.label or "", one.box) for one in read_boxes(answer).objects]
    right = {name for name in TRUTH for label, box in found if label.endswith(name) and overlap(box, name) > 0.5}
    assert len(right) >= 4, answer
    assert len(found) <= 6


def test_it_finds_the_thing_that_is_named(model: LocalModel, scene: Held) -> None:
    answers = model.answer([Asked(f"[detection] {name}", (scene,)) for name in TRUTH], 60)
    boxes = [[one.box for one in read_boxes(answer).objects] for answer in answers]
    right = [any(overlap(box, name) > 0.5 for box in some) for name, some in zip(TRUTH, boxes, strict=True)]
    assert sum(right) >= 4, answers


def test_it_says_colours_counts_and_places(model: LocalModel, scene: Held) -> None:
    answers = model.answer([Asked(question, (scene,)) for question in ANSWERS], 10)
    right = [answer.strip() == truth for answer, truth in zip(answers, ANSWERS.values(), strict=True)]
    assert sum(right) >= len(right) - 1, answers
