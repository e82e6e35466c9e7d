"""Counts of n-grams beside those of a plain loop, over drawn answers."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandagpt_core.convert.ngrams.counting import DOUBT, SEEN, count_ngrams
from pandagpt_core.engine.speculation.ngram_table import LONGEST, NgramTable, packed

IDS = st.integers(0, 4)
ANSWERS = st.lists(st.lists(IDS, min_size=LONGEST, max_size=20), max_size=20)


@given(ANSWERS)
def test_the_most_frequent_token_of_each_context_is_kept(answers: list[list[int]]) -> None:
    arrays = count_ngrams(answers)
    for n in range(1, LONGEST + 1):
        followed = defaultdict[tuple[int, ...], Counter[int]](Counter)
        for ids in answers:
            for end in range(LONGEST, len(ids)):
                followed[tuple(ids[end - n : end])][ids[end]] += 1
        often = {packed(context): tokens for context, tokens in followed.items() if tokens.total() >= SEEN}
        assert arrays[f"contexts.{n}"].tolist() == sorted(often)
        for context, token, rate in zip(*(arrays[f"{p}.{n}"] for p in ("contexts", "tokens", "rates")), strict=True):
            tokens = often[int(context)]
            assert tokens[int(token)] == max(tokens.values())
            assert rate == pytest.approx(max(tokens.values()) / (tokens.total() + DOUBT))


def test_the_end_of_the_prompt_is_a_context_and_not_counted_itself() -> None:
    arrays = count_ngrams([[1, 2, 3, 4]] * SEEN)
    assert arrays["tokens.1"].tolist() == arrays["tokens.2"].tolist() == arrays["tokens.3"].tolist() == [4]


def test_no_answers_make_an_empty_table() -> None:
    arrays = count_ngrams([])
    assert list(NgramTable(arrays, 5).guesses([1, 2, 3])) == []
    assert all(np.size(array) == 0 for array in arrays.values())
