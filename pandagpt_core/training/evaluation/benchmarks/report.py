"""A benchmark's outcome as a table for people, and as files: the figures, and every question with its answer."""

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import msgspec

from pandagpt_core.training.evaluation.benchmarks.base import BenchmarkOutcome, Figure, Question
from pandagpt_core.training.evaluation.benchmarks.figures import Drawn
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
            file.write(json.dumps(_line(question, answer)) + "\n")
    return [figures, answers]


def _line(question: Question, answer: str) -> dict[str, Any]:
    """Several media by their modality and file; of a truth that is a record, its fields."""
    truth = question.truth
    truth = asdict(truth) if is_dataclass(truth) and not isinstance(truth, type) else truth
    media = (
        {"media": [msgspec.to_builtins(one) for one in question.several]}
        if question.several
        else {"image": question.image}
    )
    return {**media, "prompt": question.prompt, "truth": truth, "answer": answer}


def _cells(figure: Figure) -> str:
    low, high = figure.interval
    if isinstance(figure, Rate):
        return f"{figure.n} | {100 * figure.share:.1f} % | {100 * low:.1f} to {100 * high:.1f}"
    if isinstance(figure, Drawn):
        return f"{figure.n} | {figure.value:.3f} | {low:.3f} to {high:.3f}"
    return f"{len(figure.values)} | {figure.mean:.3f} | {low:.3f} to {high:.3f}"
