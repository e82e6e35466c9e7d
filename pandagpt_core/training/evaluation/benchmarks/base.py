"""The interface of a benchmark: questions about media out of its files, figures out of the answers, their table."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.evaluation.answerer import Answerer, Asked, Held
from pandagpt_core.training.evaluation.benchmarks.figures import Drawn, Interval
from pandagpt_core.training.evaluation.manifest import MediumEntry
from pandagpt_core.training.evaluation.measures import Mean, Rate
from pandagpt_core.types import Modality

FIGURES, ANSWERS = "benchmark.json", "answers.jsonl"
AT_ONCE = 256  # questions whose pictures are in memory together
Figure = Rate | Mean | Interval | Drawn


@dataclass(frozen=True, slots=True)
class Files:
    """annotations: the benchmark's own file. questions: a second one, where it has two. images: a folder."""

    annotations: Path
    images: Path
    questions: Path | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """`image` is a path below the folder of media; `truth` is whatever the benchmark's score reads.

    several: media in place of `image`, with their parameters.
    """

    image: str
    prompt: str
    truth: Any
    several: tuple[MediumEntry, ...] = ()

    @property
    def media(self) -> tuple[MediumEntry, ...]:
        return self.several or (MediumEntry(Modality.IMAGE, self.image),)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """read: the public files as questions. score: figures by name, of answers in the questions' order."""

    name: str
    read: Callable[[Files], list[Question]]
    score: Callable[[Sequence[Question], Sequence[str]], Mapping[str, Figure]]
    tokens: int = 20


@dataclass(frozen=True, slots=True)
class BenchmarkOutcome:
    """A model's figures; `answers` are kept for a reader."""

    benchmark: str
    model: str
    figures: Mapping[str, Figure]
    answers: Sequence[tuple[Question, str]] = field(default=())

    def to_json(self) -> dict[str, Any]:
        figures = {name: figure.to_dict() for name, figure in self.figures.items()}
        return {"benchmark": self.benchmark, "model": self.model, "figures": figures}


def run_benchmark(
    benchmark: Benchmark,
    model: Answerer,
    files: Files,
    limit: int = 0,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> BenchmarkOutcome:
    """Ask every question, or the first `limit`. Raises InvalidRequest for files that are not the benchmark's."""
    questions = benchmark.read(files)[: limit or None]
    if not questions:
        raise InvalidRequest(f"{files.annotations.name} holds no question of {benchmark.name}")
    answers: list[str] = []
    for start in range(0, len(questions), AT_ONCE):
        part = questions[start : start + AT_ONCE]
        answers += model.answer([_asked(one, files.images) for one in part], benchmark.tokens)
        progress(len(answers), len(questions))
    figures = benchmark.score(questions, answers)
    return BenchmarkOutcome(benchmark.name, model.name, figures, tuple(zip(questions, answers, strict=True)))


def read_annotations(path: Path) -> Any:
    """Raises InvalidRequest."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path.name} is no readable JSON file: {error}") from None


def read_lines(path: Path) -> list[Any]:
    """JSON lines. Raises InvalidRequest that names the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InvalidRequest(f"{path.name} cannot be read: {error.strerror}") from None
    return [_line(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def entry(path: Path, index: Any, one: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Question]) -> Question:
    """One question, or InvalidRequest that names the entry that lacks something."""
    try:
        question = read(one)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidRequest(
            f"{path.name}: entry {index} is not as expected ({type(error).__name__}: {error})"
        ) from None
    for medium in question.media:
        pure = PurePosixPath(medium.file)
        if pure.is_absolute() or ".." in pure.parts:
            raise InvalidRequest(f"{path.name}: entry {index}: {medium.file} is not below the folder of media")
    return question


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise InvalidRequest(f"{path.name}: line {number} is no JSON") from None


def _asked(question: Question, images: Path) -> Asked:
    return Asked(question.prompt, tuple(_held(images, medium) for medium in question.media))


def _held(folder: Path, medium: MediumEntry) -> Held:
    try:
        data = (folder / medium.file).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{medium.file}: {error.strerror}") from None
    return Held(medium.modality, data, tuple(sorted(medium.params.items())), medium.file)


def benchmark_table(outcome: BenchmarkOutcome) -> str:
    """For people: each figure with its n and its 95 % interval."""
    lines = [
        f"# {outcome.model} on {outcome.benchmark}",
        "",
        "| figure | n | value | 95 % |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {name} | {_cells(figure)} |" for name, figure in outcome.figures.items()]
    return "\n".join(lines) + "\n"


def write_outcome(outcome: BenchmarkOutcome, folder: Path) -> list[Path]:
    """The figures, and every question with its answer; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    figures, answers = folder / FIGURES, folder / ANSWERS
    figures.write_text(json.dumps(outcome.to_json(), indent=2) + "\n", encoding="utf-8")
    with answers.open("w", encoding="utf-8") as file:
        for question, answer in outcome.answers:
            file.write(json.dumps(_answered(question, answer)) + "\n")
    return [figures, answers]


def _answered(question: Question, answer: str) -> dict[str, Any]:
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
