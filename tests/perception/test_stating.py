"""The asked names, stated in a reading where there is evidence for them."""

from dataclasses import replace

from pandagpt_core.perception.reading import NamedConcept, Reading, Thing, words
from pandagpt_core.perception.stating import stated

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
