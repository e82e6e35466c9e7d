"""The rows of an examination for other programs: CSV, and a LaTeX table (booktabs) for a paper."""

import csv
from pathlib import Path

from pandagpt_core.training.evaluation.measures import Rate
from pandagpt_core.training.evaluation.report import EvaluationReport

CSV, LATEX = "report.csv", "table.tex"
METRIC = (
    "exact: share of answers whose first named concept is the truth (retrieval: whose nearest text is); "
    "95 % Wilson interval"
)


def export_report(report: EvaluationReport, folder: Path) -> list[Path]:
    """The files written."""
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
