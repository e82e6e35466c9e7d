"""The tables of panda-locate's card, made of its figures, between marks that a reader does not see."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Figures = Mapping[str, Mapping[str, Mapping[str, Any]]]
CARD = "README.md"
_BLOCK = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)
# The aims on held-out scenes, in percent.
BARS = {"detection": 60, "colour": 70, "count": 70, "where": 70}
_KINDS = {
    "detection": "detection: boxes at IoU 0.5",
    "refer": "refer: the box at IoU 0.5",
    "grounding": "grounding: boxes at IoU 0.5 with the right name",
    "identify": "identify: the name of what a box holds",
    "colour": "vqa: what colour",
    "count": "vqa: how many",
    "where": "vqa: where",
    "what": "vqa: what",
}


def write_card(folder: Path, figures: Figures) -> None:
    """Fill the card of the folder; one that is not there is left so."""
    card = folder / CARD
    if card.exists():
        card.write_text(filled(card.read_text(encoding="utf-8"), figures), encoding="utf-8")


def filled(text: str, figures: Figures) -> str:
    return _BLOCK.sub(lambda found: f"{found[1]}{table(figures)}\n{found[2]}", text)


def table(figures: Figures) -> str:
    """A row for each kind of question, a column for each set."""
    rows = [["question", *figures, "to be reached on scenes"], ["---"] * (len(figures) + 2)]
    for kind, what in _KINDS.items():
        rows.append([what, *(_cell(found.get(kind)) for found in figures.values()), _bar(kind, figures)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _cell(one: Mapping[str, Any] | None) -> str:
    if one is None or not one["n"]:
        return ""
    low, high = (100 * bound for bound in one["interval_95"])
    precise = f"; {100 * one['precision']:.0f} % of its boxes" if "precision" in one else ""
    return f"{100 * one['share']:.0f} % ({low:.0f} to {high:.0f}) of {one['n']}{precise}"


def _bar(kind: str, figures: Figures) -> str:
    least, one = BARS.get(kind), next(iter(figures.values())).get(kind)
    if least is None or one is None:
        return ""
    return f"{least} %: {'reached' if 100 * one['share'] >= least else 'NOT reached'}"
