"""Questions and answers in training, and the concept that an answer names."""

import numpy as np
import pytest

from pandagpt_core.training.evaluation.measures import first_named, wilson
from recipes.panda_mini.concepts import load_concepts, load_general_midi, load_imagenet
from recipes.panda_mini.language.qa_templates import (
    DESCRIBING,
    KINDS,
    NAMING,
    NO_PICTURE,
    alike,
    say,
    say_both,
    with_article,
)

CONCEPTS = load_concepts()
NAMES = [concept.name for concept in CONCEPTS]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("This is a dog.", "dog"),
        ("It is a hot dog, a sausage in a bun.", "hot dog"),
        ("A cat, not a dog.", "cat"),
        ("These are bananas.", "banana"),
        ("I see nothing.", None),
        ("A category of things.", None),
    ],
)
def test_the_first_concept_an_answer_names_counts(answer: str, name: str | None) -> None:
    assert first_named(answer, NAMES) == name


def test_every_answer_about_a_picture_names_its_concept_first() -> None:
    rng = np.random.default_rng(0)
    for concept in CONCEPTS:
        for _ in range(20):
            question, answer = say(concept, CONCEPTS, rng)
            assert question.endswith(("?", "."))
            assert concept.name in answer.lower()
            if not question.startswith(("What kind", "What category", "What sort")):  # "It is a bird: a duck."
                assert first_named(answer, NAMES) == concept.name


def test_no_question_of_training_is_of_a_sound_heat_depth_or_motion() -> None:
    asked = " ".join((*NAMING, *DESCRIBING)).lower()
    rng = np.random.default_rng(1)
    asked += " ".join(say(CONCEPTS[0], CONCEPTS, rng)[0] for _ in range(300)).lower()
    for word in ("hear", "sound", "warm", "hot ", "cold", "heat", "depth", "near", "far", "mov", "motion"):
        assert word not in asked


def test_yes_and_no_are_told_equally_often_and_truly() -> None:
    rng = np.random.default_rng(2)
    told = {"Yes": 0, "No": 0}
    for concept in CONCEPTS:
        for _ in range(40):
            question, answer = say(concept, CONCEPTS, rng)
            word = answer.split(",")[0]
            if word not in told:
                continue
            told[word] += 1
            thing = next(question.removeprefix(how) for how in _ASKED if question.startswith(how))[:-1]
            if thing in KINDS:
                true, doubt = KINDS[thing]
                assert concept.cat not in doubt
                assert (concept.cat in true) == (word == "Yes")
            else:
                assert (thing == with_article(concept)) == (word == "Yes")
    assert abs(told["Yes"] / (told["Yes"] + told["No"]) - 0.5) < 0.05


_ASKED = ("Is this ", "Is it ", "Do you see ", "Does the picture show ")


@pytest.mark.parametrize(("one", "other"), [("owl", "bird"), ("car", "taxi"), ("shark", "fish"), ("rain", "wind")])
def test_what_might_truly_be_called_the_other_is_never_denied(one: str, other: str) -> None:
    first, second = CONCEPTS[NAMES.index(one)], CONCEPTS[NAMES.index(other)]
    assert alike(first, second)
    assert alike(second, first)
    assert not alike(first, CONCEPTS[NAMES.index("piano")])


def test_two_things_are_both_named() -> None:
    dog, piano = CONCEPTS[NAMES.index("dog")], CONCEPTS[NAMES.index("piano")]
    _, answer = say_both(dog, piano, np.random.default_rng(0))
    assert "a dog and a piano" in answer.lower()


def test_the_answer_without_a_picture_names_nothing() -> None:
    assert first_named(NO_PICTURE, NAMES) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dog", "a dog"),
        ("elephant", "an elephant"),
        ("unicorn", "a unicorn"),
        ("octopus", "an octopus"),
        ("bus", "a bus"),
        ("hippopotamus", "a hippopotamus"),
        ("rain", "rain"),
        ("thunderstorm", "a thunderstorm"),
        ("grapes", "grapes"),
        ("scissors", "scissors"),
        ("sun", "the sun"),
        ("soccer ball", "a soccer ball"),
        ("bread", "bread"),
        ("running", "someone running"),
    ],
)
def test_articles_are_english(name: str, said: str) -> None:
    assert with_article(CONCEPTS[NAMES.index(name)]) == said


def test_names_are_unique_and_the_other_tables_speak_of_them() -> None:
    assert len(set(NAMES)) == len(NAMES) == 204
    assert load_imagenet().keys() <= set(NAMES)
    assert load_general_midi().keys() <= set(NAMES)


def test_wilsons_interval_of_a_half() -> None:
    low, high = wilson(50, 100)
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)
