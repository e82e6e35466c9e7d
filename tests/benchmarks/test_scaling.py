"""The series of what must not grow, at their small sizes: counted in the store's own commands."""

import asyncio

import pytest

from benchmarks.lib.report import Row
from benchmarks.scaling import costs


@pytest.fixture(scope="module")
def series() -> dict[str, dict[int, Row]]:
    found: dict[str, dict[int, Row]] = {}
    for row in asyncio.run(costs(quick=True)):
        found.setdefault(str(row["series"]), {})[int(str(row["size"]))] = row
    return found


def commands(row: Row) -> float:
    return float(str(row["commands"]))


def test_a_request_behind_100_others_costs_as_many_commands_as_behind_one(series: dict[str, dict[int, Row]]) -> None:
    queue = series["queue"]
    assert commands(queue[100]) == pytest.approx(commands(queue[1]), abs=1.0)


def test_a_conversation_of_200_turns_costs_as_many_commands_as_one_of_10(series: dict[str, dict[int, Row]]) -> None:
    turns = series["turns"]
    assert commands(turns[200]) == pytest.approx(commands(turns[10]), abs=1.0)


def test_a_medium_costs_a_fixed_number_of_commands(series: dict[str, dict[int, Row]]) -> None:
    media = series["media"]
    each = (commands(media[32]) - commands(media[8])) / 24
    assert each == pytest.approx((commands(media[8]) - commands(media[1])) / 7, abs=0.5)
    assert each <= 5
