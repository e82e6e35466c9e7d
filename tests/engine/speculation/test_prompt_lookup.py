"""Drafts: the tokens after an earlier occurrence of the last tokens."""

from itertools import islice

import pytest

from pandagpt_core.engine.speculation.prompt_lookup import PromptLookup


@pytest.mark.parametrize(
    ("ids", "most", "draft"),
    [
        ([1, 2, 3, 4, 5, 1, 2], 3, (3, 4, 5)),  # two alike
        ([7, 1, 2, 9, 8, 1, 2, 3, 7, 1, 2], 1, (9,)),  # three alike go before two
        ([1, 2, 3, 1, 2, 4, 1, 2], 1, (4,)),  # the latest place
        ([5, 6, 5, 6], 5, (5, 6, 5, 6, 5)),  # a loop goes on
        ([9, 9, 9], 4, (9, 9, 9, 9)),
        ([1, 2, -3, 4, 1, 2], 3, ()),  # a soft token is no token
        ([1, 2, 8, -3, 4, 1, 2], 3, (8,)),
        ([1, 2, 3, 4], 3, ()),
        ([1, 2], 3, ()),
        ([1], 3, ()),
        ([], 3, ()),
    ],
)
def test_a_draft_is_what_followed_the_tail_before(ids: list[int], most: int, draft: tuple[int, ...]) -> None:
    assert drafted(ids, most) == draft


def test_bytes_that_only_look_like_the_tail_are_passed_over() -> None:
    """The search is one in bytes: the tail's may stand across the places of two ids."""
    shifted = int.from_bytes(b"\0" + (5).to_bytes(7, "little"), "little")
    assert drafted([5, 5, 77, shifted, shifted, 0, 5, 5], 1) == (77,)


def test_a_longer_tail_is_right_more_often() -> None:
    after_two, after_three = (
        next(PromptLookup().guesses(ids)).rate for ids in ([1, 2, 3, 1, 2], [1, 2, 3, 4, 1, 2, 3])
    )
    assert 0 < after_two < after_three < 1


def drafted(ids: list[int], most: int) -> tuple[int, ...]:
    return tuple(guess.token for guess in islice(PromptLookup().guesses(ids), most))
