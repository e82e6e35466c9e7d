"""The cost of a row, learned from steps of several sizes."""

import pytest

from pandagpt_core.engine.speculation.speculator import PRIOR, StepCost


def seen(*steps: tuple[int, float]) -> StepCost:
    cost = StepCost()
    for rows, seconds in steps:
        cost.observe(rows, seconds)
    return cost


def test_before_any_step_a_row_costs_what_is_usual() -> None:
    assert StepCost().of_a_row(1) == PRIOR


def test_steps_of_one_size_leave_the_usual_part() -> None:
    assert seen(*[(1, 0.01)] * 50).of_a_row(1) == pytest.approx(PRIOR)


@pytest.mark.parametrize("slope", [0.0005, 0.002, 0.01])
def test_a_row_is_learned_from_steps_of_several_sizes(slope: float) -> None:
    steps = [(rows, 0.01 + slope * rows) for rows in (1, 4, 8, 16) * 20]
    assert seen(*steps).of_a_row(8) == pytest.approx(slope / (0.01 + slope * 8), rel=0.05)


def test_one_slow_step_does_not_make_rows_dear() -> None:
    steady = [(rows, 0.01 + 0.001 * rows) for rows in (1, 4) * 20]
    assert seen(*steady, (4, 30.0), *steady).of_a_row(1) == pytest.approx(1 / 11, rel=0.2)


def test_a_row_always_costs_something() -> None:
    assert seen(*[(rows, 0.02 - 0.0005 * rows) for rows in (1, 8) * 20]).of_a_row(1) > 0
