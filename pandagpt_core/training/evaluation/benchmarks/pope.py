"""POPE (Li et al. 2023): yes-or-no questions about things that are in the picture, and about things that are not.

Each of its three samplings (random, popular, adversarial) is a file of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pandagpt_core.training.evaluation.benchmarks.base import Figure, Files, Question, entry, read_lines
from pandagpt_core.training.evaluation.benchmarks.figures import bootstrapped
from pandagpt_core.training.evaluation.measures import rate

DENIALS = frozenset({"no", "not"})


def read_pope(files: Files) -> list[Question]:
    """A line an entry, as its authors publish: {"image", "text", "label": "yes" or "no"}."""

    def question(one: Mapping[str, Any]) -> Question:
        return Question(one["image"], one["text"], {"yes": True, "no": False}[one["label"]])

    return [entry(files.annotations, at, one, question) for at, one in enumerate(read_lines(files.annotations), 1)]


def score_pope(questions: Sequence[Question], answers: Sequence[str]) -> Mapping[str, Figure]:
    """Accuracy, precision and recall of "yes", F1, and the share of answers that are yes.

    Precision is left out where no answer is yes, recall where no thing is there.
    """
    pairs = [(is_yes(answer), bool(question.truth)) for question, answer in zip(questions, answers, strict=True)]
    figures: dict[str, Figure] = {"accuracy": rate([yes == there for yes, there in pairs], chance=0.5)}
    if any(yes for yes, _ in pairs):
        figures["precision"] = rate([there for yes, there in pairs if yes])
    if any(there for _, there in pairs):
        figures["recall"] = rate([yes for yes, there in pairs if there])
    return {**figures, "F1": bootstrapped(pairs, f1), "yes": rate([yes for yes, _ in pairs])}


def is_yes(answer: str) -> bool:
    """By the published rule: the first sentence is a no where it has the word no or not, else a yes."""
    first = answer.split(".")[0].replace(",", "").lower()
    return DENIALS.isdisjoint(first.split())


def f1(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Of pairs (answered yes, is there); 0 where all of both are false."""
    both = sum(yes and there for yes, there in pairs)
    either = sum(yes + there for yes, there in pairs)
    return 2 * both / either if either else 0.0
