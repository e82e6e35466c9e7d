"""A benchmark's outcome as a table for people, and as files: the figures, and every question with its answer."""

import json
from pathlib import Path

from pandagpt_core.training.evaluation.benchmarks.base import BenchmarkOutcome, Figure
from pandagpt_core.training.evaluation.measures import Rate

FIGURES, ANSWERS = "benchmark.json", "answers.jsonl"


def benchmark_table(outcome: BenchmarkOutcome) -> str:
    lines = [
        f"# {outcome.model} on {outcome.benchmark}",
        "",
        "| figure | n | value | 95 % |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {name} | {_cells(figure)} |" for name, figure in outcome.figures.items()]
    return "\n".join(lines) + "\n"


def write_outcome(outcome: BenchmarkOutcome, folder: Path) -> list[Path]:
    """The files written."""
    folder.mkdir(parents=True, exist_ok=True)
    figures, answers = folder / FIGURES, folder / ANSWERS
    figures.write_text(json.dumps(outcome.to_json(), indent=2) + "\n", encoding="utf-8")
    with answers.open("w", encoding="utf-8") as file:
        for question, answer in outcome.answers:
            named = {"image": question.image, "prompt": question.prompt, "truth": question.truth, "answer": answer}
            file.write(json.dumps(named) + "\n")
    return [figures, answers]


def _cells(figure: Figure) -> str:
    low, high = figure.interval
    if isinstance(figure, Rate):
        return f"{figure.n} | {100 * figure.share:.1f} % | {100 * low:.1f} to {100 * high:.1f}"
    return f"{len(figure.values)} | {figure.mean:.3f} | {low:.3f} to {high:.3f}"
