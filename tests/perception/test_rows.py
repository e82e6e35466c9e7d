"""A perception survives the rows that it is cached in."""

import pytest
import torch

from pandagpt_core.perception.rows import (
    CLASS_ROWS,
    ROWS,
    WIDTH,
    Measures,
    ThingRow,
    classes_of,
    classes_rows,
    things_of,
    things_row,
)
from pandagpt_core.types import Modality

SHARES = tuple(index / 55 for index in range(11))


def test_measures_come_back_from_their_row() -> None:
    said = Measures(12.5, 0.75, 30.0, 0.5, SHARES, SHARES[::-1])
    again = Measures.of(said.row())
    assert again.spread == said.spread
    assert again.main == pytest.approx(said.main)
    assert again.ground == pytest.approx(said.ground)
    assert said.row().shape == (WIDTH,)


def test_things_come_back_in_order_and_no_more_than_there_are_places_for() -> None:
    things = [ThingRow(0.5, kind, 0.25, 0.5, 0.75, 1.0, SHARES) for kind in (3, -1, 79)]
    again = things_of(things_row(things))
    assert [one.kind for one in again] == [3, -1, 79]
    assert again[0].middle == (0.5, 0.75)
    assert again[0].area == pytest.approx(0.25)
    assert again[0].colours == pytest.approx(SHARES)
    assert len(things_of(things_row(things * 4))) == 8
    assert things_of(torch.zeros(WIDTH)) == []


def test_the_probabilities_of_a_thousand_classes_fit_into_their_rows() -> None:
    given = torch.rand(1000)
    rows = torch.zeros(ROWS[Modality.IMAGE], WIDTH)
    rows[CLASS_ROWS] = classes_rows(given)
    assert torch.equal(classes_of(rows), given)
