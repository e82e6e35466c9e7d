"""Questions without media: graded by the word that a right answer holds."""

from pandagpt_core.training.quiz import QUIZ, graded
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
