"""Questions with accepted answers, written by hand, and how the small default does on them."""

from recipes.panda_mini.questions.table import TableQuestion, load_questions

__all__ = ["TableQuestion", "load_questions"]
