"""The list by which a language model is chosen: its kinds, and which answers are right."""

import pytest

from recipes.panda_small.language_questions import LanguageAnswer, LanguageQuestion, load_language_questions, table

STORY = "Once there was a fox who lived alone in a wood and who liked to sing to the moon each night until dawn came."


def answer(kind: str, accepted: str, text: str, ended: bool = True) -> LanguageAnswer:
    return LanguageAnswer(LanguageQuestion(kind, ("?",), tuple(accepted.split())), text, ended)


@pytest.mark.parametrize(
    ("kind", "accepted", "text", "right"),
    [
        ("fact", "au", "It is Au.", True),
        ("fact", "au", "It is gold, because.", False),
        ("de", "rom", "Die Hauptstadt ist Rom.", True),
        ("de", "rom", "The capital is called Rom.", False),
        ("fr", "bleu", "Le ciel est blanc.", False),
        ("json", "name=dog color=brown", '```json\n{"name": "Dog", "color": "brown"}\n```', True),
        ("json", "name=dog color=brown", '{"name": "dog"}', False),
        ("json", "name=dog", '{"name": dog}', False),
        ("story", "fox", STORY, True),
        ("story", "fox", "A fox. " + "It ran and ran away. " * 9, False),
    ],
)
def test_an_answer_is_right_by_its_kinds_rule(kind: str, accepted: str, text: str, right: bool) -> None:
    assert answer(kind, accepted, text).right == right


def test_a_story_that_is_cut_off_is_not_right() -> None:
    assert not answer("story", "fox", STORY, ended=False).right


def test_right_answers_are_counted_by_kind() -> None:
    answered = [answer("fact", "au", "Au"), answer("fact", "au", "Ag"), answer("de", "rom", "Rom")]
    assert table(answered) == {"fact": (1, 2), "de": (1, 1)}


def test_the_list_asks_seven_kinds_in_lower_case_words() -> None:
    questions = load_language_questions()
    assert len(questions) == 42
    assert {question.kind for question in questions} == {"fact", "de", "es", "fr", "json", "story", "follow"}
    assert all(word == word.lower() for question in questions for word in question.accepted)
