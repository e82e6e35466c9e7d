"""Questions without media: what the quiz asks was not trained on, and what was trained on is worded as it should be."""

from recipes.panda_mini.language.retention_eval import QUIZ
from recipes.panda_mini.language.text_questions import TEXT_ONLY


def test_no_question_of_the_quiz_was_trained_on() -> None:
    assert not QUIZ.keys() & set(TEXT_ONLY)


def test_text_questions_are_worded_as_those_about_pictures_and_stand_once() -> None:
    assert len(TEXT_ONLY) == len(set(TEXT_ONLY))
    assert not [question for question in TEXT_ONLY if "{" in question]
    for form in (
        "What is ",
        "Is it ",
        "Is a ",
        "Describe ",
        "Tell me about ",
        "What kind of ",
        "Do you see ",
        "Can you tell me ",
    ):
        assert any(question.startswith(form) for question in TEXT_ONLY), form
