"""The table of panda-mini-bind's card, made of its figures, between marks that a reader does not see."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CARD, FIGURES = "README.md", "figures.json"
_BLOCK = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)
_POINTS = re.compile(r"(<!-- points -->\n).*?(<!-- end of points -->)", re.DOTALL)
Row = Mapping[str, Any]


def write_card(folder: Path) -> None:
    """Fill the card of the folder from its figures; one that is not there is left so."""
    card = folder / CARD
    if card.exists():
        figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        card.write_text(filled(card.read_text(encoding="utf-8"), figures), encoding="utf-8")


def filled(text: str, figures: Mapping[str, Any]) -> str:
    text = _BLOCK.sub(lambda found: f"{found[1]}{table(figures['systems'])}\n{found[2]}", text)
    return _POINTS.sub(lambda found: f"{found[1]}{points_table(figures['points'])}\n{found[2]}", text)


def points_table(rows: Sequence[Row]) -> str:
    """A row for each way to answer."""
    lines = [["system", "n", "exact", "by concept", "same category", "chance"], ["---"] * 6]
    for row in rows:
        exact, mean = row["exact"], row["exact_by_concept"]
        by_concept = f"{_percent(mean['mean'])} % of {mean['n']}"
        category = f"{_percent(row['category']['share'])} %"
        chance = f"{_percent(exact['chance'])} %"
        lines.append([row["set"], str(exact["n"]), _cell(row), by_concept, category, chance])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def table(systems: Mapping[str, Sequence[Row]]) -> str:
    """A row for each set, a column for each system: the share that was named exactly, with its 95 % interval."""
    head = ["set", "medium", "n", *systems, "chance"]
    lines = [head, ["---"] * len(head)]
    for at, row in enumerate(_answers(next(iter(systems.values())))):
        cells = [_cell(_answers(rows)[at]) for rows in systems.values()]
        exact = row["exact"]
        lines.append([row["set"], row["modality"], str(exact["n"]), *cells, f"{_percent(exact['chance'])} %"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _answers(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["measure"] == "answer"]


def _cell(row: Row) -> str:
    low, high = row["exact"]["interval_95"]
    return f"{_percent(row['exact']['share'])} % ({_percent(low)} to {_percent(high)})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if 0 < share < 0.01 else f"{100 * share:.0f}"
