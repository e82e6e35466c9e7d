"""Passes over logits, by numpy on a CPU."""

import pytest
import torch

from pandagpt_core.engine.passes import chosen_rows, finite_rows, largest_ids

LOGITS = torch.tensor([[1.0, 3.0, 3.0, -2.0], [0.5, -1.0, -1.0, 0.25], [-5.0, -4.0, -3.0, -3.0]])


def test_the_likeliest_is_the_first_of_equal_ones() -> None:
    assert largest_ids(LOGITS).tolist() == [1, 0, 2]
    assert largest_ids(LOGITS[:0]).tolist() == []


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_one_number_that_is_not_finite_is_seen_in_its_row_alone(number: float) -> None:
    logits = LOGITS.repeat(1, 5000)
    logits[1, 17_000] = number
    assert finite_rows(logits) == [True, False, True]


@pytest.mark.parametrize("rows", [[0], [2], [0, 1, 2], [1, 2], [0, 2], [2, 1]])
def test_rows_are_those_asked_for_and_copied_only_with_gaps(rows: list[int]) -> None:
    taken = chosen_rows(LOGITS, rows)
    assert taken.tolist() == [LOGITS[row].tolist() for row in rows]
    together = rows == sorted(rows) and rows[-1] - rows[0] == len(rows) - 1
    assert (taken.untyped_storage().data_ptr() == LOGITS.untyped_storage().data_ptr()) == together
