"""A table of n-grams: the token after the longest context that it has, and what no table may be."""

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from pandagpt_core.convert.ngrams.counting import DOUBT, count_ngrams
from pandagpt_core.engine.speculation.ngram_table import NgramTable

VOCAB = 200_000
LEAD = [7, 7, 7]
ANSWERS = [[*LEAD, 1, 2, 3, 4]] * 3 + [[*LEAD, 9, 2, 3, 5]] * 5 + [[*LEAD, 199_999, 2, 6]] * 3
Arrays = dict[str, np.ndarray]
Change = Callable[[Arrays], Arrays]


@pytest.fixture
def arrays() -> Arrays:
    return count_ngrams(ANSWERS)


@pytest.mark.parametrize(
    ("ids", "token", "rate"),
    [
        ([1, 2, 3], 4, 3 / (3 + DOUBT)),  # three tokens
        ([0, 2, 3], 5, 5 / (8 + DOUBT)),  # no such three; of two the more frequent
        ([0, 3], 5, 5 / (8 + DOUBT)),
        ([0, 0, 2], 3, 8 / (11 + DOUBT)),
        ([7, 199_999, 2], 6, 3 / (3 + DOUBT)),  # a large id
        ([7, 7, 7], 9, 5 / (11 + DOUBT)),  # the first token of an answer
        ([3], 5, 5 / (8 + DOUBT)),  # a sequence of one token
        ([-5, 2, 3], 5, 5 / (8 + DOUBT)),  # a soft token is no token
    ],
)
def test_the_longest_context_says_what_follows(arrays: Arrays, ids: list[int], token: int, rate: float) -> None:
    guess = next(NgramTable(arrays, VOCAB).guesses(ids))
    assert guess.token == token
    assert guess.rate == pytest.approx(rate)


@pytest.mark.parametrize("ids", [[8, 8, 8], [4], [2, 3, -4], []])
def test_after_a_context_that_it_lacks_there_is_no_guess(arrays: Arrays, ids: list[int]) -> None:
    assert list(NgramTable(arrays, VOCAB).guesses(ids)) == []


def test_a_draft_goes_on_from_its_own_tokens(arrays: Arrays) -> None:
    tokens = [guess.token for guess in islice(NgramTable(arrays, VOCAB).guesses([7, 7, 7]), 8)]
    assert tokens == [9, 2, 3, 5]


def without(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if name != "rates.2"}


def changed(name: str, value: float) -> Change:
    def change(arrays: Arrays) -> Arrays:
        array = arrays[name].copy()
        array[0] = value
        return {**arrays, name: array}

    return change


def halves(arrays: Arrays) -> Arrays:
    return {**arrays, "rates.1": arrays["rates.1"].astype(np.float16)}


def shorter(arrays: Arrays) -> Arrays:
    return {**arrays, "tokens.3": arrays["tokens.3"][1:]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without, "has contexts.1"),
        (halves, "1-grams are int64, int32, float16"),
        (shorter, "3-grams have the shapes"),
        (changed("tokens.2", VOCAB), f"to {VOCAB}, the model has {VOCAB}"),
        (changed("tokens.2", -1), "tokens -1"),
        (changed("contexts.1", 2**40), "not in order"),
        (changed("rates.3", 0.0), "between 0 and 1"),
        (changed("rates.3", 1.5), "between 0 and 1"),
        (changed("rates.3", np.nan), "between 0 and 1"),
    ],
)
def test_what_is_no_table_is_refused(arrays: Arrays, change: Change, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NgramTable(change(arrays), VOCAB)
