"""Names that a question by yes or no asks for, in four languages, stated in a reading where there is evidence."""

from dataclasses import replace

import pytest

from pandagpt_core.perception.asked import AskedNames, asked_names, stated
from pandagpt_core.perception.languages import LANGUAGES
from pandagpt_core.perception.reading import NamedConcept, Reading, Thing, words

WORDS = {
    "en": {
        "dog": "dog", "cat": "cat", "hot dog": "hot dog", "people": "person", "person": "person", "church": "church",
        "strawberry": "strawberry", "orange": "orange", "sun": "sun", "rain": "rain", "animal": "animal",
    },
    "de": {"hund": "dog", "katze": "cat", "blume": "flower"},
    "es": {"perro": "dog", "flor": "flower"},
    "fr": {"chien": "dog", "tour": "tower"},
}  # fmt: skip


def names(question: str, code: str = "en") -> tuple[str, ...]:
    return asked_names(question, LANGUAGES[code], WORDS[code]).names


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("Is there a dog in the picture?", ("dog",)),
        ("Is this an animal?", ("animal",)),
        ("Do you see a dog or a cat?", ("dog", "cat")),
        ("Are there people in the photo?", ("person",)),
        ("Are there churches?", ("church",)),
        ("Do you see strawberries?", ("strawberry",)),
        ("Is this a hot dog?", ("hot dog",)),
        ("Answer yes or no: is there a dog?", ("dog",)),
        ("Look at it. Does the picture show a cat?", ("cat",)),
        ("Do you see the sun?", ("sun",)),
        ("Do you hear rain?", ("rain",)),
        ("Isn't there a dog?", ("dog",)),
    ],
)
def test_a_question_by_yes_or_no_asks_for_names(question: str, asked: tuple[str, ...]) -> None:
    assert names(question) == asked


@pytest.mark.parametrize(
    "question",
    [
        "What is this?",
        "Describe the dog.",
        "How many dogs are there?",
        "Where is the cat?",
        "Is the cat bigger than the mouse?",
        "Is it orange?",
        "Is this a lighthouse keeper?",
        "",
    ],
)
def test_other_questions_ask_for_nothing(question: str) -> None:
    assert names(question) == ()


@pytest.mark.parametrize(
    ("code", "question", "asked"),
    [
        ("de", "Gibt es einen Hund auf dem Bild?", ("dog",)),
        ("de", "Siehst du Blumen?", ("flower",)),
        ("de", "Ist der Hund groß?", ()),
        ("es", "¿Hay un perro en la imagen?", ("dog",)),
        ("es", "¿Ves flores?", ("flower",)),
        ("fr", "Y a-t-il un chien sur la photo ?", ("dog",)),
        ("fr", "Est-ce une tour ?", ("tower",)),
        ("fr", "Est-ce que la tour est grande ?", ()),
    ],
)
def test_it_is_read_in_the_questions_language(code: str, question: str, asked: tuple[str, ...]) -> None:
    assert names(question, code) == asked


def test_a_word_of_seeing_or_hearing_leaves_the_other_media_alone() -> None:
    seen = asked_names("Is there a dog in the picture?", LANGUAGES["en"], WORDS["en"])
    assert (seen.of("picture"), seen.of("depth"), seen.of("sound")) == (("dog",), ("dog",), ())
    heard = asked_names("Do you hear a dog?", LANGUAGES["en"], WORDS["en"])
    assert (heard.of("picture"), heard.of("sound")) == ((), ("dog",))
    both = asked_names("Is there a dog?", LANGUAGES["en"], WORDS["en"])
    assert both.of("picture") == both.of("sound") == ("dog",)
    assert AskedNames().of("picture") == ()


UNSURE = Reading("picture", (NamedConcept("vase"), NamedConcept("cup")), colours=("red",), confidence=0.3)
SURE = Reading("picture", (NamedConcept("dog", ("animal",)),), True, colours=("brown",), things=(Thing("ball"),))


def asked(reading: Reading, *names: tuple[str, float]) -> str:
    return words(stated(replace(reading, asked=names)))


def test_an_unsure_picture_is_of_what_is_asked_for() -> None:
    assert asked(UNSURE, ("flower", 0.7)) == "(Picture: a flower. colors: red.)"


def test_beside_a_sure_name_it_is_one_of_the_things() -> None:
    assert (
        asked(SURE, ("tree", 0.7))
        == "(Picture: a dog (animal). colors: brown. things: 1 ball: ; 1 tree: brown middle.)"
    )


def test_the_first_is_the_subject_and_the_next_a_thing() -> None:
    assert asked(UNSURE, ("flower", 0.7), ("tree", 0.6)).endswith("a flower. colors: red. things: 1 tree: red middle.)")


def test_what_is_stated_already_is_not_stated_again() -> None:
    for name in ("dog", "animal", "ball"):
        assert asked(SURE, (name, 0.9)) == words(SURE)
    building = replace(UNSURE, kind="building")
    assert asked(building, ("building", 0.9)) == words(building)


def test_without_evidence_the_line_is_as_it_was() -> None:
    assert asked(UNSURE, ("flower", 0.4)) == words(UNSURE)
    assert asked(UNSURE) == words(UNSURE)


def test_nothing_is_found_in_a_medium_that_holds_nothing() -> None:
    blank = Reading("picture", void="blank")
    assert asked(blank, ("dog", 0.9)) == words(blank)
