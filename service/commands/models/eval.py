"""`pandagpt eval`: how often a model names what it is shown, in process or over HTTP, with intervals and chance."""

import argparse
import sys
from pathlib import Path

from pandagpt_core.training.evaluation import EvaluationReport, Manifest, examine, markdown, read_manifest, write_report
from pandagpt_core.training.evaluation.answerer import Answerer
from pandagpt_core.training.evaluation.benchmarks import BENCHMARKS, Files, run_benchmark
from pandagpt_core.training.evaluation.benchmarks.base import benchmark_table, write_outcome
from pandagpt_core.training.evaluation.report import METRIC, export_report
from pandagpt_core.training.evaluation.transcript import ANSWERS, Transcript
from service import settings
from service.commands.overrides import overrides


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--manifest", type=Path, metavar="FILE", help="what to ask about: JSON or TOML")
    what.add_argument("--task", choices=tuple(BENCHMARKS), help="a benchmark, by its own protocol")
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="with --task: the benchmark's own file")
    parser.add_argument("--questions", type=Path, metavar="FILE", help="with --task vqa: the file of questions")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="with --task: where the media are")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="with --task: the first N questions (all)")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--model", type=Path, metavar="FOLDER", help="model folder, examined in this process")
    where.add_argument("--url", help="address of a service, examined over HTTP")
    parser.add_argument("--served", metavar="NAME", help="with --url: the model to ask (the first that is served)")
    parser.add_argument(
        "--base",
        type=Path,
        metavar="FOLDER",
        help="model folder whose untouched language model answers without media are held against (--model)",
    )
    parser.add_argument("--device", default="auto", help="torch device, or auto")
    parser.add_argument("--at-once", type=int, default=4, metavar="N", help="with --url: requests at a time (4)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write report.md, .json, .csv and .png, table.tex and answers.jsonl there",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the tables; 1 where the service does not answer."""
    if arguments.at_once < 1:
        raise settings.SettingsError(f"--at-once is {arguments.at_once}; expected at least 1")
    if arguments.task is not None and (arguments.annotations is None or arguments.images is None):
        raise settings.SettingsError("--task needs --annotations FILE and --images FOLDER")
    base = None
    if arguments.manifest is not None and read_manifest(arguments.manifest).text_only:
        base = _base(arguments.base or arguments.model)
    if arguments.model is not None:
        return _report(arguments, _local(arguments.model, arguments.device), base)
    return _over_http(arguments, base)


def _report(arguments: argparse.Namespace, model: Answerer, base: Answerer | None) -> int:
    if arguments.task is not None:
        return _benchmark(arguments, model)
    manifest = read_manifest(arguments.manifest)
    seen = Transcript(model)
    report = examine(seen, manifest, base, _progress)
    print(f"{markdown(report)}\n{METRIC}.")
    for path in _written(report, seen, manifest, arguments.out) if arguments.out else []:
        print(path, file=sys.stderr)
    return 0


def _written(report: EvaluationReport, seen: Transcript, manifest: Manifest, folder: Path) -> list[Path]:
    files = [*write_report(report, folder), *export_report(report, folder)]
    return [*files, seen.write(manifest, folder / ANSWERS)]


def _benchmark(arguments: argparse.Namespace, model: Answerer) -> int:
    files = Files(arguments.annotations, arguments.images, arguments.questions)
    benchmark = BENCHMARKS[arguments.task]
    outcome = run_benchmark(
        benchmark, model, files, arguments.limit, lambda done, total: _progress(f"{done} of", total)
    )
    print(benchmark_table(outcome), end="")
    for path in write_outcome(outcome, arguments.out) if arguments.out else []:
        print(path, file=sys.stderr)
    return 0


def _over_http(arguments: argparse.Namespace, base: Answerer | None) -> int:
    # Here and not above: a model folder is examined without an HTTP client.
    from service.commands.client.talk import TalkError
    from service.commands.models.examinee import HttpModel, connected

    client = settings.load(overrides(arguments, url="client.url")).client
    with connected(client) as connection:
        try:
            return _report(arguments, HttpModel(connection, arguments.served, arguments.at_once), base)
        except TalkError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            return 1


def _local(folder: Path, device: str) -> Answerer:
    from pandagpt_core.loading import pick_device  # takes seconds to import
    from pandagpt_core.training.evaluation.local import open_model

    return open_model(folder, device=pick_device(device))


def _base(folder: Path | None) -> Answerer | None:
    if folder is None:
        return None
    from pandagpt_core.training.evaluation.local import base_model  # takes seconds to import

    return base_model(folder)


def _progress(what: str, count: int) -> None:
    print(f"{what}: {count} questions", file=sys.stderr, flush=True)
