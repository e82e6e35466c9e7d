"""An examination's outcome: as Markdown for people, JSON and CSV for programs, a picture, and a table for a paper."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandagpt_core.training.evaluation.measures import Gain, Mean, Rate

MARKDOWN, JSON, PLOT = "report.md", "report.json", "report.png"
CSV, LATEX = "report.csv", "table.tex"
METRIC = (
    "exact: share of answers whose first named concept is the truth (retrieval: whose nearest text is); "
    "95 % Wilson interval"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One set of one modality: how often the concept is named (or found) exactly, and one of its category.

    by_concept: the mean of each concept's own share of exact answers.
    """

    measure: str
    set: str
    modality: str
    exact: Rate
    category: Rate
    by_concept: Mean

    def to_dict(self) -> dict[str, Any]:
        heads = {"measure": self.measure, "set": self.set, "modality": self.modality}
        rates = {"exact": self.exact.to_dict(), "category": self.category.to_dict()}
        return {**heads, **rates, "exact_by_concept": self.by_concept.to_dict()}


@dataclass(frozen=True, slots=True)
class Pair:
    """Several media of one thing together, each alone, and what together adds to each."""

    set: str
    modalities: tuple[str, ...]
    together: Rate
    alone: tuple[Rate, ...]
    gains: tuple[Gain, ...]

    def to_dict(self) -> dict[str, Any]:
        each = zip(self.modalities, self.alone, self.gains, strict=True)
        parts = [{"modality": m, "alone": alone.to_dict(), "gain": gain.to_dict()} for m, alone, gain in each]
        return {"set": self.set, "together": self.together.to_dict(), "parts": parts}


@dataclass(frozen=True, slots=True)
class PlainText:
    """Questions without media, against the untouched language model; right answers where the manifest has them."""

    pictured: Rate
    base_pictured: Rate
    same: Rate
    agreement: Mean
    right: Rate | None = None
    base_right: Rate | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "begins_with_a_picture": self.pictured.to_dict(),
            "base_begins_with_a_picture": self.base_pictured.to_dict(),
            "same_as_base": self.same.to_dict(),
            "agreement_with_base": self.agreement.to_dict(),
            "right": None if self.right is None else self.right.to_dict(),
            "base_right": None if self.base_right is None else self.base_right.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """The measurements, and the measures left out with their reasons.

    nothing: answers that admit it where a question is about a medium that is not given.
    """

    model: str
    manifest: str
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...] = ()
    plain: PlainText | None = None
    nothing: Rate | None = None
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "manifest": self.manifest,
            "rows": [row.to_dict() for row in self.rows],
            "pairs": [pair.to_dict() for pair in self.pairs],
            "text_only": self.plain.to_dict() if self.plain is not None else None,
            "says_nothing_is_there": self.nothing.to_dict() if self.nothing is not None else None,
            "left_out": list(self.left_out),
        }


def markdown(report: EvaluationReport) -> str:
    """Tables; every share with its n, 95 % interval and chance."""
    lines = [f"# {report.model} on {report.manifest}", ""]
    if report.rows:
        head = ["measure", "set", "medium", "n", "exact", "95 %", "chance", "category", "95 %", "chance", "by concept"]
        lines += _table(head, [_row(row) for row in report.rows])
    if report.pairs:
        head = ["set", "media", "n", "exact", "95 %", "chance", "more than alone", "95 %"]
        lines += _table(head, [cells for pair in report.pairs for cells in _pair_rows(pair)])
    if report.plain is not None:
        lines += _table(["questions without media", "n", "share", "95 %"], _plain_rows(report.plain))
    if report.nothing is not None:
        head = ["questions about a medium that is not given", "n", "share", "95 %"]
        lines += _table(head, [["says that there is none", *_rate(report.nothing)[:3]]])
    lines += [f"Not measured: {reason}." for reason in report.left_out]
    return "\n".join(lines).rstrip() + "\n"


def plot(report: EvaluationReport, path: Path) -> Path:
    """A bar for each row with its interval, a mark where chance is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes time to import
    from matplotlib.figure import Figure

    bars = [(f"{row.set} ({row.modality}), {row.measure}", row.exact) for row in report.rows]
    bars += [(f"{pair.set} ({' + '.join(pair.modalities)}), answer", pair.together) for pair in report.pairs]
    figure = Figure(figsize=(8, 1 + 0.35 * max(1, len(bars))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="exact, 95 % interval; | is chance", xlim=(0, 1), title=report.model)
    places = range(len(bars))
    shares = [one.share for _, one in bars]
    below = [max(0.0, one.share - one.interval[0]) for _, one in bars]
    above = [max(0.0, one.interval[1] - one.share) for _, one in bars]
    axes.barh(places, shares, xerr=[below, above], color="tab:blue", ecolor="black", capsize=2)
    axes.scatter([one.chance or 0.0 for _, one in bars], places, marker="|", s=150, color="tab:red", zorder=3)
    axes.set_yticks(places, [name for name, _ in bars])
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)
    return path


def write_report(report: EvaluationReport, folder: Path) -> list[Path]:
    """All three forms; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKDOWN).write_text(markdown(report), encoding="utf-8")
    (folder / JSON).write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    return [folder / MARKDOWN, folder / JSON, plot(report, folder / PLOT)]


def _row(row: Row) -> list[str]:
    exact, category = _rate(row.exact), _rate(row.category)
    return [row.measure, row.set, row.modality, *exact, *category[1:], _percent(row.by_concept.mean)]


def _pair_rows(pair: Pair) -> list[list[str]]:
    whole = [[pair.set, " + ".join(pair.modalities), *_rate(pair.together), "", ""]]
    parts = zip(pair.modalities, pair.alone, pair.gains, strict=True)
    return whole + [
        [pair.set, f"{modality} alone", *_rate(alone), _points(gain.difference), _bounds(gain.interval, points=True)]
        for modality, alone, gain in parts
    ]


def _plain_rows(plain: PlainText) -> list[list[str]]:
    rates = {
        "begins by describing a picture": plain.pictured,
        "the same of the base model": plain.base_pictured,
        "right": plain.right,
        "right, of the base model": plain.base_right,
        "answer equal to the base model's": plain.same,
    }
    mean, n = plain.agreement, len(plain.agreement.values)
    common = ["words in common with it", str(n), _percent(mean.mean), _bounds(mean.interval)]
    return [*([name, *_rate(one)[:3]] for name, one in rates.items() if one is not None), common]


def _rate(one: Rate) -> list[str]:
    chance = "" if one.chance is None else f"{100 * one.chance:.1f} %"
    return [str(one.n), _percent(one.share), _bounds(one.interval), chance]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.0f} points"


def _bounds(bounds: tuple[float, float], *, points: bool = False) -> str:
    low, high = (100 * bound for bound in bounds)
    return f"{low:+.0f} to {high:+.0f}" if points else f"{max(0.0, low):.0f} to {high:.0f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]


def export_report(report: EvaluationReport, folder: Path) -> list[Path]:
    """CSV, and a LaTeX table (booktabs); the files written."""
    csv_file, latex_file = folder / CSV, folder / LATEX
    with csv_file.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "measure", "set", "medium", "n", "exact", "low", "high", "chance"])
        writer.writerows([report.model, *heads, *_numbers(rate)] for heads, rate in _rates(report))
    latex_file.write_text(_latex(report), encoding="utf-8")
    return [csv_file, latex_file]


def _rates(report: EvaluationReport) -> list[tuple[tuple[str, str, str], Rate]]:
    rows = [((row.measure, row.set, row.modality), row.exact) for row in report.rows]
    return rows + [(("answer", pair.set, " + ".join(pair.modalities)), pair.together) for pair in report.pairs]


def _numbers(rate: Rate) -> list[float | int | str]:
    low, high = rate.interval
    return [rate.n, round(rate.share, 4), round(low, 4), round(high, 4), "" if rate.chance is None else rate.chance]


def _latex(report: EvaluationReport) -> str:
    lines = [
        f"% {report.model} on {report.manifest}. {METRIC.replace('%', 'percent')}",
        r"\begin{tabular}{lllrrl}",
        r"\toprule",
        r"measure & set & medium & n & exact & 95\,\% \\",
        r"\midrule",
    ]
    for (measure, of, medium), rate in _rates(report):
        low, high = rate.interval
        cells = [measure, of, medium, str(rate.n), f"{100 * rate.share:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"]
        lines.append(" & ".join(_escaped(cell) for cell in cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    for sign in "&%$#_{}":
        text = text.replace(sign, f"\\{sign}")
    return text
