"""The checker itself: it must see every kind of harm, or its silence means nothing."""

from dataclasses import replace

import pytest

from tests.chaos.callers import body_of, expected
from tests.chaos.checker import Outcome, judge

WANTED = {number: expected(number) for number in range(1, 4)}
GOOD = {
    number: Outcome(number, "stream", texts=list(texts), ids=list(range(30)), ends=1)
    for number, texts in WANTED.items()
}


def judged(changed: Outcome) -> str:
    verdict = judge({**GOOD, 1: changed}, WANTED)
    kinds = ("lost", "doubled", "crossed", "reworded", "without_end", "with_more_ends", "failed")
    assert verdict.good == 2
    assert sum(getattr(verdict, kind) for kind in kinds) == 1
    return next(kind for kind in kinds if getattr(verdict, kind))


def test_every_request_has_its_own_text_and_as_many_as_choices() -> None:
    texts = [text for number in range(50) for text in expected(number)]
    assert len(set(texts)) == len(texts)
    assert [len(expected(number)) for number in range(4)] == [2, 1, 1, 2]
    assert all(text.count(" w") == body_of(1)["max_tokens"] for text in texts)


def test_undisturbed_requests_are_good() -> None:
    verdict = judge(GOOD, WANTED)
    assert (verdict.requests, verdict.good, verdict.flawless) == (3, 3, True)


WORDS = WANTED[1][0].split(" ")


@pytest.mark.parametrize(
    ("flaw", "change"),
    [
        ("lost", {"texts": [" ".join(WORDS[:-1])]}),
        ("lost", {"texts": [" ".join(WORDS[:5] + WORDS[6:])]}),
        ("lost", {"ids": [0, 1, 3]}),
        ("doubled", {"texts": [" ".join(WORDS[:5] + WORDS[4:])]}),
        ("doubled", {"ids": [0, 1, 1, 2]}),
        ("crossed", {"texts": WANTED[2]}),
        ("reworded", {"texts": [" ".join([*WORDS[:5], "and other words", *WORDS[7:-1], "at the end"])]}),
        ("without_end", {"ends": 0}),
        ("with_more_ends", {"ends": 2}),
        ("failed", {"error": "worker_lost"}),
    ],
)
def test_each_harm_is_seen(flaw: str, change: dict[str, object]) -> None:
    assert judged(replace(GOOD[1], **change)) == flaw


@pytest.mark.parametrize("later", ["503 draining", "503 overloaded", "429 rate_limit_exceeded"])
def test_a_refusal_before_the_answer_is_a_flaw(later: str) -> None:
    verdict = judge({**GOOD, 1: replace(GOOD[1], later=[later])}, WANTED)
    assert (verdict.retried, verdict.flawless, len(verdict.wrong)) == (1, False, 1)


def test_an_error_is_a_flaw_without_being_a_refusal() -> None:
    verdict = judge({**GOOD, 1: replace(GOOD[1], error="worker_lost")}, WANTED)
    assert (verdict.retried, verdict.failed, verdict.flawless) == (0, 1, False)


def test_a_request_that_nobody_heard_of_has_no_end() -> None:
    outcomes = {number: outcome for number, outcome in GOOD.items() if number != 2}
    verdict = judge(outcomes, WANTED)
    assert (verdict.without_end, verdict.flawless) == (1, False)
