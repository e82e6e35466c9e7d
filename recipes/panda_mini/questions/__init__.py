"""Questions with accepted answers, written by hand, and how the small default does on them."""

from recipes.panda_mini.questions.table import Question, load_questions

__all__ = ["Question", "load_questions"]
