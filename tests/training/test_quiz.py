"""Questions without media: graded by the word that a right answer holds."""

from pandagpt_core.training.quiz import QUIZ, admitted, graded
from pandagpt_core.training.talk import NO_PICTURE
from pandagpt_core.training.text_questions import TEXT_ONLY


def test_an_answer_is_right_when_it_holds_the_word() -> None:
    right = [f"It is {word.upper()}." for word in QUIZ.values()]
    assert graded(right)["right"] == 1.0
    assert graded(["I do not know."] * len(QUIZ))["right"] == 0.0


def test_answers_that_speak_of_a_picture_are_counted() -> None:
    said = ["The picture shows Rome.", "I see Berlin.", *["An answer."] * (len(QUIZ) - 2)]
    assert graded(said)["speak of a picture"] == 2


def test_no_question_of_the_quiz_was_trained_on() -> None:
    assert not QUIZ.keys() & set(TEXT_ONLY)


def test_text_questions_are_worded_as_those_about_pictures_are_and_each_stands_once() -> None:
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


def test_an_answer_that_says_there_is_no_picture_is_counted() -> None:
    assert admitted([NO_PICTURE, "It is a dog."])["said so"] == 0.5
