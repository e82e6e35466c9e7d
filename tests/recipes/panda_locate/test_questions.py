"""Questions have the exact answers of their scene, and answers are judged as the card says."""

from dataclasses import replace

import numpy as np
import pytest

from pandagpt_core.boxes import read_boxes
from recipes.panda_locate.card import filled, table
from recipes.panda_locate.evaluate import judged
from recipes.panda_locate.questions import LocateQuestion, ask, colours
from recipes.panda_locate.scoring import found, score
from recipes.panda_locate.things import COLOURS, NAMES, DrawnThing

RED, BLUE = (tuple(COLOURS).index(name) for name in ("red", "blue"))
DOG, CAT = NAMES.index("dog"), NAMES.index("cat")
THINGS = (
    DrawnThing(DOG, RED, (0.1, 0.1, 0.3, 0.3)),
    DrawnThing(DOG, BLUE, (0.5, 0.5, 0.8, 0.8)),
    DrawnThing(CAT, -1, (0.7, 0.05, 0.95, 0.25)),
)


@pytest.fixture(scope="module")
def asked() -> dict[str, LocateQuestion]:
    return {one.text: one for seed in range(30) for one in ask(THINGS, np.random.default_rng(seed), 20)}


def test_answers_are_true_of_the_scene(asked: dict[str, LocateQuestion]) -> None:
    expected = {
        "[vqa] how many dogs are there?": "2",
        "[vqa] how many things are there?": "3",
        "[vqa] where is the cat?": "top right",
        "[vqa] what is blue?": "dog",
        "[vqa] what is at the top left?": "dog",
        "[refer] red dog": "{<10><10><30><30>}",
        "[refer] where is cat ?": "{<70><5><95><25>}",
        "[detection] dog": "<p>dog</p> {<10><10><30><30>}<delim>{<50><50><80><80>}",
    }
    assert {text: asked[text].answer for text in expected} == expected


def test_nothing_is_asked_that_has_no_one_answer(asked: dict[str, LocateQuestion]) -> None:
    assert not {"[refer] dog", "[vqa] what colour is the dog?", "[vqa] where is the dog?"} & asked.keys()


def test_every_colour_is_asked_that_has_one_answer() -> None:
    things = (*THINGS, DrawnThing(NAMES.index("owl"), BLUE, (0.1, 0.6, 0.3, 0.8)))
    assert [(one.text, one.answer) for one in colours(things)] == [("[vqa] what colour is the owl?", "blue")]


def test_a_grounding_names_every_thing_with_its_place(asked: dict[str, LocateQuestion]) -> None:
    (one,) = [one for one in asked.values() if one.kind == "grounding"]
    labels = [(each.label, each.box) for each in read_boxes(one.answer).objects]
    assert labels == [
        ("red dog", THINGS[0].box), ("cat", THINGS[2].box), ("blue dog", THINGS[1].box),
    ]  # fmt: skip


def test_the_truth_scores_in_full_and_less_scores_less(asked: dict[str, LocateQuestion]) -> None:
    for one in asked.values():
        hits, wanted, given = score(one, one.answer)
        assert hits == wanted == given, one
    detection = asked["[detection] dog"]
    assert score(detection, "<p>dog</p> {<10><10><30><30>}<delim>{<0><0><9><9>}") == (1, 2, 2)
    assert score(detection, "no dogs") == (0, 2, 0)


def test_one_box_finds_one_thing() -> None:
    box = THINGS[0].box
    assert found([box, box], [box]) == 1
    assert found([box], [box, box]) == 1
    assert found([(0.0, 0.0, 0.1, 0.1)], [box]) == 0


def test_articles_and_full_stops_are_no_matter() -> None:
    one = LocateQuestion("what", "[vqa] what is blue?", "dog")
    assert score(one, " A dog.") == (1, 1, 1)
    assert score(replace(one, answer="2"), "12") == (0, 1, 1)


def test_the_card_says_which_bars_are_reached() -> None:
    questions = [LocateQuestion("count", "q", "2"), LocateQuestion("colour", "q", "red")]
    figures = {"scenes": judged(questions, ["2", "blue"])}
    text = table(figures)
    assert "| vqa: how many | 100 %" in text
    assert "70 %: reached" in text
    assert "70 %: NOT reached" in text
    marked = "a\n<!-- figures -->\nold\n<!-- end of figures -->\nb"
    assert filled(marked, figures).startswith("a\n<!-- figures -->\n| question")
