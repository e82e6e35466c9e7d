"""The questions with accepted answers: enough of each kind, and rules that tell right from wrong."""

import dataclasses
from collections import Counter

import pytest
from PIL import Image

from recipes.panda_mini.questions import load_questions
from recipes.panda_mini.questions.files import TONES, read_digests
from recipes.panda_mini.questions.measure import MeasuredAnswer, figures, thinned
from recipes.panda_mini.questions.scenes import NOTHING, SCENES, drawn
from recipes.panda_mini.questions.score import score
from recipes.panda_mini.questions.table import parse

QUESTIONS = load_questions()


def test_there_are_at_least_300_questions_of_every_kind() -> None:
    counts = Counter(question.kind for question in QUESTIONS)
    assert sum(counts.values()) >= 300
    assert set(counts) == {
        *("known", "unknown", "yes", "no", "colour", "count", "where", "describe", "both", "follow", "json", "fact"),
        *("nothing", "de", "es", "fr"),
    }
    assert min(counts["known"], counts["unknown"], counts["yes"], counts["no"]) >= 40


def test_every_photograph_has_a_digest_and_every_scene_a_drawing() -> None:
    names = {name for question in QUESTIONS for name in question.media}
    assert {name for name in names if ":" not in name} == read_digests().keys()
    assert {
        name.removeprefix("scene:") for name in names if name.startswith("scene:")
    } <= SCENES.keys() | NOTHING.keys()
    assert {name.removeprefix("tone:") for name in names if name.startswith("tone:")} == TONES.keys()


def test_a_scene_of_nothing_needs_no_package(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert isinstance(drawn(tmp_path, "noise"), Image.Image)


@pytest.mark.parametrize("line", ["what: Is it? = x", "known: What is this?", "known:  = x"])
def test_a_line_that_is_no_question_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a question"):
        parse(line)


@pytest.mark.parametrize(
    ("line", "answer", "right"),
    [
        ("known: What is this? = cat | tabby", "This is a cat.", True),
        ("known: What is this? = cat", "I am not sure; it may be a cat or a dog.", True),
        ("known: What is this? = cat", "I am not sure; it may be a dog or a cat.", False),
        ("unknown: What is this? = tower", "This is a giraffe.", False),
        ("yes: Is this a cat?", "Yes, it is a cat.", True),
        ("yes: Is this a cat?", "No, it is a cat.", False),
        ("no: Is this a dog?", "No, it is a cat.", True),
        ("no: Is this a cat?", "No, it is a cat.", False),
        ("no: Is this a dog?", "Not that I know.", False),
        ("colour: What colour is it? = red", "It is red and blue.", True),
        ("colour: What colour is it? = red", "It is blue, not red.", False),
        ("count: How many? = 3", "There are three dogs.", True),
        ("count: How many? = 3", "There are 2 dogs and three cats.", False),
        ("count: How many? = 0", "I see no dogs.", True),
        ("where: Where? = top left | left", "It is at the top left.", True),
        ("where: Where? = left", "It is on the left or the right.", False),
        ("both: What? = cat & trumpet", "The picture shows a cat, and the sound is a trumpet.", True),
        ("both: What? = cat & trumpet", "A trumpet and a cat.", False),
        ("json: JSON? = name: cat; color: red", '{"name": "cat", "color": "red"}', True),
        ("json: JSON? = name: cat", "name: cat", False),
        ("de: Was? = Hund", "Das ist ein Hund.", True),
        ("de: Was? = Hund", "This is the Hund of it.", False),
        ("fact: Capital? = Paris", "It is Paris.", True),
        ("follow: What is it? // What does it eat? = fish", "It eats fish.", True),
    ],
)
def test_an_answer_is_right_by_the_rule_of_its_kind(line: str, answer: str, right: bool) -> None:
    assert score(parse(line), answer).right is right


def test_a_description_is_scored_by_the_share_of_true_facts() -> None:
    asked = parse("describe: Describe it. = dog one green left")
    found = score(asked, "The picture shows a dog on the left and a cat.")
    assert (found.hits, found.of) == (2, 3)
    assert score(asked, "Hello.").hits == 0


def test_a_wrong_name_without_a_doubt_is_the_headline() -> None:
    asked = parse("unknown: What is this? = tower")
    said = ["This is a giraffe.", "I am not sure; it may be a giraffe.", "This is a tower."]
    found = figures([MeasuredAnswer(asked, answer, score(asked, answer)) for answer in said])
    assert found["confident wrong, unknown"]["hits"] == 1
    assert found["unknown"]["hits"] == 1


def test_colours_of_photographs_and_of_scenes_have_figures_of_their_own() -> None:
    asked = parse("colour: What colour is it? = red")
    scene, photograph = (dataclasses.replace(asked, media=(name,)) for name in ("scene:fruit", "a.png"))
    said = [(scene, "It is red."), (photograph, "It is red."), (photograph, "It is blue.")]
    found = figures([MeasuredAnswer(question, answer, score(question, answer)) for question, answer in said])
    counts = {name: (found[name]["hits"], found[name]["n"]) for name in found if name.startswith("colour")}
    assert counts == {"colour": (2, 3), "colour, scenes": (1, 1), "colour, photographs": (1, 2)}


def test_a_thinned_set_keeps_every_kind_about_media() -> None:
    every = load_questions()
    few = thinned(every, 8)
    assert {q.kind for q in few} == {q.kind for q in every if q.media}
    assert len(few) < len(every) / 5
    assert all(q.media for q in few)
    assert thinned(every, 1) == list(every)
