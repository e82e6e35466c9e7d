"""Figures of a new build held against the committed ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from pandagpt_core.training.evaluation.measures import Gain, Mean, Rate
from pandagpt_core.training.evaluation.report import EvaluationReport, Pair, PlainText, Row
from pandagpt_core.training.log import Log
from recipes.panda_mini.build import hold_against
from recipes.panda_mini.reproducibility import Figure, Outside, compared, figures_of, read


def figures(photos: int, answered: int = 9) -> dict[str, Any]:
    """As `pandagpt eval` writes them: 33 photos, ten pairs, ten questions without media."""
    row = Row("answer", "photos", "image", Rate(33, photos, 0.005), Rate(33, 30), Mean((0.5, 1.0)))
    pair = Pair("both", ("image", "audio"), Rate(10, 8), (Rate(10, 5), Rate(10, 6)), (Gain(10, 3, 0), Gain(10, 2, 0)))
    plain = PlainText(Rate(10, 0), Rate(10, 0), Rate(10, 4), Mean((0.2, 0.4)), Rate(10, answered), Rate(10, 9))
    return {"weights": {"a": "b"}, "validation": EvaluationReport("panda-mini", "v", (row,), (pair,), plain).to_dict()}


def test_every_number_with_an_interval_is_found_by_a_name_of_its_own() -> None:
    found = list(figures_of(figures(21)))
    names = [name for name, _ in found]
    assert len(names) == len(set(names)) == 3 + 5 + 6
    low, high = Rate(33, 21).interval
    assert dict(found)["validation rows answer photos image exact"] == Figure(
        round(21 / 33, 4), round(low, 4), round(high, 4)
    )
    assert "validation pairs both parts audio gain" in names


def test_a_figure_outside_its_committed_interval_is_named_with_both_numbers() -> None:
    count, outside = compared(figures(15), figures(21))
    low, high = (round(bound, 4) for bound in Rate(33, 21).interval)
    assert count == 14
    assert outside == [Outside("validation rows answer photos image exact", 0.4545, Figure(0.6364, low, high))]
    assert compared(figures(20), figures(21)) == (14, [])


def test_figures_that_only_one_has_are_not_compared() -> None:
    assert compared(figures(15), {}) == (0, [])
    assert compared({"weights": {}}, figures(21)) == (0, [])


def test_a_build_says_each_in_a_line_of_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    committed = tmp_path / "figures.json"
    committed.write_text(json.dumps(figures(21)))
    hold_against(figures(15, answered=1), read(committed), Log())
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines[:2]] == ["outside the committed interval"] * 2
    assert (lines[0]["figure"], lines[0]["found"]) == ("validation rows answer photos image exact", 0.4545)
    assert lines[0]["low"] > 0.4545
    assert (lines[2]["compared"], lines[2]["outside"]) == (14, 2)
    assert read(tmp_path / "none.json") == {}
