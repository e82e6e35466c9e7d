"""What is asked and answered in training, and how an answer is scored."""

import numpy as np
import pytest

from pandagpt_core.training.concepts import load_concepts, load_general_midi, load_imagenet
from pandagpt_core.training.evaluate import score, wilson
from pandagpt_core.training.talk import first_named, say, with_article

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


def test_every_answer_about_a_picture_names_its_concept_first_or_denies_another() -> None:
    rng = np.random.default_rng(0)
    for concept in CONCEPTS:
        question, answer = say(concept, CONCEPTS, rng)
        assert question.endswith(("?", "."))
        assert concept.name in answer


def test_articles_are_english() -> None:
    said = {concept.name: with_article(concept) for concept in CONCEPTS}
    assert (said["dog"], said["apple"], said["rain"], said["grapes"]) == ("a dog", "an apple", "rain", "grapes")


def test_names_are_unique_and_the_other_tables_speak_of_them() -> None:
    assert len(set(NAMES)) == len(NAMES) == 204
    assert load_imagenet().keys() <= set(NAMES)
    assert load_general_midi().keys() <= set(NAMES)


def test_a_score_counts_exact_names_and_categories() -> None:
    dog, cat, piano = NAMES.index("dog"), NAMES.index("cat"), NAMES.index("piano")
    found = score(["This is a dog.", "This is a dog.", "This is a dog."], [dog, cat, piano], CONCEPTS)
    assert (found.n, found.exact, found.category) == (3, 1, 2)


def test_wilsons_interval_of_a_half() -> None:
    low, high = wilson(50, 100)
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)
