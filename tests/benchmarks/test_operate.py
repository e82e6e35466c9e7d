"""Verdicts of the operation benchmark: growth over restarts, means beside the callers' clocks."""

import pytest

from benchmarks.lib.sse import Answer
from benchmarks.operate import BETWEEN, FIRST, WHOLE, outcome_of, report_of
from benchmarks.operation.readings import Readings, _growth


@pytest.mark.parametrize(
    ("values", "grown"), [([0, 3, 3, 7], 7), ([2, 5, 0, 4], 9), ([1], 1), ([5, 1, 1, 2, 0], 7)], ids=str
)
def test_a_counter_that_begins_anew_goes_on_counting(values: list[float], grown: float) -> None:
    assert _growth(values) == grown


class Fixed(Readings):
    """Readings without a Prometheus."""

    def __init__(self, values: dict[str, float]) -> None:
        self._values = values

    def growth(self, name: str) -> float:
        return self._values.get(name, 0.0)

    def highest(self, name: str) -> float:
        return self._values.get(name, 0.0)


def readings(first: float, given_up: float = 0) -> Fixed:
    """Two answers of two pieces each: first pieces at 1 s, the second 0.5 s later, ends at 2 s."""
    sums = {FIRST: (first, 2), BETWEEN: (1.0, 2), WHOLE: (4.0, 2)}
    flat = {f"{name}_sum": total for name, (total, _) in sums.items()}
    flat |= {f"{name}_count": count for name, (_, count) in sums.items()}
    return Fixed({**flat, "pandagpt_requests_given_up_total": given_up})


ANSWERS = [(Answer(chunks=[1.0, 1.5]), 2.0)] * 2


def test_means_that_agree_and_no_failure_are_good() -> None:
    outcome = outcome_of(ANSWERS, {"gateway 0": 0}, readings(2.0))
    assert outcome.good
    assert (outcome.sent, outcome.failed, outcome.given_up) == (2, 0, 0)


@pytest.mark.parametrize(
    ("answers", "restarts", "given"),
    [
        (ANSWERS, {"gateway 0": 0}, readings(3.0)),
        (ANSWERS, {"gateway 0": 1}, readings(2.0)),
        (ANSWERS, {"gateway 0": 0}, readings(2.0, given_up=1)),
        ([*ANSWERS, (Answer(error="status 503"), 1.0)], {"gateway 0": 0}, readings(2.0)),
    ],
    ids=["a mean is off", "a bad exit", "one given up", "one failed"],
)
def test_anything_else_is_not(answers: list, restarts: dict, given: Fixed) -> None:
    assert not outcome_of(answers, restarts, given).good


def test_the_report_names_each_mean_and_what_failed() -> None:
    text = report_of(outcome_of(ANSWERS, {"gateway 0": 0}, readings(2.02)), at_once=4, new=2).table()
    assert "| pandagpt_time_to_first_token_seconds | 1,010.00 | 1,000.00 | 1.0 |" in text
    (what, _) = report_of(outcome_of(ANSWERS, {"gateway 0": 0}, readings(2.0, given_up=1)), at_once=4, new=2).notes
    assert "failed 0, given up 1" in what
