"""The line of words that stands for a medium: its parts, their order and language."""

import pytest

from pandagpt_core.perception.languages import LANGUAGES, english_noun, language_of
from pandagpt_core.perception.reading import NamedConcept, Reading, Thing, words

CAT = NamedConcept("cat", ("animal",))
SEEN = Reading(
    "picture",
    (CAT,),
    True,
    colours=("brown", "gray"),
    ground=("pink",),
    things=(
        Thing("cat", ("brown",), "middle", "large"),
        Thing("ball", ("red",), "top left"),
        Thing("cat", (), "right"),
    ),
)


def test_a_line_says_what_it_is_its_colours_and_things_grouped_by_name() -> None:
    assert words(SEEN) == (
        "(Picture: a cat (animal). colors: brown, gray. background: pink. "
        "things: 2 cat: brown middle large, right; 1 ball: red top left.)"
    )


def test_a_line_says_that_a_name_is_not_sure_and_which_it_may_be() -> None:
    unsure = Reading("sound", (CAT, NamedConcept("rain")))
    assert words(unsure) == "(Sound: not sure, maybe a cat (animal) or rain.)"
    assert words(Reading("picture", (CAT,), kind="animal")) == "(Picture: an animal, not sure, maybe a cat (animal).)"
    assert words(Reading("picture")) == "(Picture: not sure.)"


def test_a_line_about_nothing_names_nothing() -> None:
    assert words(Reading("sound", void="silence")) == "(Sound: silence.)"
    assert words(Reading("picture", void="blank", colours=("white",))) == "(Picture: blank. colors: white.)"


def test_a_line_is_in_the_questions_language_as_far_as_its_words_are_known() -> None:
    german = words(SEEN, LANGUAGES["de"])
    assert german.startswith("(Bild: eine Katze (Tier). Farben: braun, grau. Hintergrund: rosa.")
    assert "1 Ball: rot oben links" in german


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("Was ist das?", "de"),
        ("¿Qué ves en la imagen?", "es"),
        ("Que montre la photo ?", "fr"),
        ("What is this?", "en"),
        ("Describe the picture.", "en"),
        ("cat", "en"),
    ],
)
def test_a_question_tells_its_language_and_english_is_the_rest(question: str, code: str) -> None:
    assert language_of(question).code == code


@pytest.mark.parametrize(
    ("name", "said"),
    [("dog", "a dog"), ("apple", "an apple"), ("rain", "rain"), ("sun", "the sun"), ("unicorn", "a unicorn")],
)
def test_names_have_their_articles(name: str, said: str) -> None:
    assert english_noun(name) == said
