"""The peaks of this machine, and the share that one request's decoding gets.

    python -m benchmarks.rooflines [--quick] [--threads 2]

A decode step for one request reads every weight once and computes little, so memory bandwidth over the weights' bytes
is the most steps a second there can be (the roofline: Williams, Waterman and Patterson 2009).
"""

import itertools
import sys
from collections.abc import Iterator

import torch

from benchmarks.contestants.field import AS_SERVED, ENGINES, OURS, assemble
from benchmarks.lib import machine, peaks, plots, report
from benchmarks.lib.contestant import Contestant
from benchmarks.lib.options import BenchmarkOptions, options, parser
from benchmarks.lib.prompts import PASSAGE, prompts
from benchmarks.lib.rounds import RoundsOutcome, play
from benchmarks.lib.sizes import step_bytes, weight_bytes
from benchmarks.lib.stats import Case, Run, summarise
from benchmarks.lib.weights import source
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.gguf import read_weights
from pandagpt_core.llm.tokenizers.base import load_tokenizer

PRECISIONS = ("fp32", "bf16", "int8")
COLUMNS = (
    report.Column("what", "what"),
    report.Column("value", "measured"),
    report.Column("unit", "unit"),
    report.Column("most", "roofline"),
    report.Column("share", "share %", 0, 100),
)


def main() -> int:
    given = options(parser(__doc__).parse_args())
    torch.set_num_threads(given.threads)
    facts = machine.facts()
    config, _ = read_weights(source())
    bandwidth = {p: peaks.read_bandwidth(weight_bytes(config, p), seconds=_seconds(given)) for p in PRECISIONS}
    large = 2**28 if given.quick else 2**30
    memory = peaks.read_bandwidth(large, seconds=_seconds(given))
    outcome = decode(given)
    decoded = list(decoding(config, bandwidth, outcome, case(given)))
    rows = [
        {"what": f"read of {large >> 20} MiB", "value": memory / 1e9, "unit": "GB/s"},
        *hardware(given, bandwidth),
        *decoded,
        *as_served(config, memory, outcome, case(given)),
    ]
    notes = [
        f"{given.threads} threads. Bandwidth: an array read end to end, the faster of two kernels, best try.",
        "Decoding: one request, prompt of 32 tokens; roofline is bandwidth at the weights' size over the bytes of a "
        "step (weights and cache once). Caches of the processor may hold a part of small weights.",
        "As served: the roofline is of the large array and one token a step; drafts give several.",
        report.quietness(outcome.shares),
    ]
    out = (given.out or report.folder(facts)) if given.save else None
    title = "Rooflines of this machine"
    report.publish(report.BenchmarkReport("rooflines", title, COLUMNS, rows, notes, outcome.absent), facts, out)
    if out is not None:
        plots.draw(out / "rooflines.png", [panel(decoded)])
    return 0


def case(given: BenchmarkOptions) -> Case:
    return Case(prompt=32, new=given.new or (16 if given.quick else 128), width=1)


def hardware(given: BenchmarkOptions, bandwidth: dict[str, float]) -> Iterator[report.Row]:
    for precision, found in bandwidth.items():
        yield {"what": f"read of as much as the {precision} weights", "value": found / 1e9, "unit": "GB/s"}
    for kind in PRECISIONS:
        peak = peaks.matrix_peak(kind, 512 if given.quick else 2048, seconds=_seconds(given))
        yield {"what": f"matrix products, {kind}", "value": peak / 1e9, "unit": "Gop/s"}


def decode(given: BenchmarkOptions) -> RoundsOutcome:
    """Our engine with each runner in each precision, and as served, one request at a time, in turn."""
    ours = (*OURS.values(), AS_SERVED)
    contestants, absent = assemble([entry for entry in ENGINES if entry.name.startswith(ours)], given)
    passage = load_tokenizer(source()).encode(PASSAGE)

    def ask(one: Contestant, case: Case, turn: int) -> Run:
        return one.generate(prompts(passage, case.prompt, case.width, turn), case.new)

    outcome = play(contestants, [case(given)], given.rounds or (1 if given.quick else 3), ask, favour=given.favour)
    outcome.absent.update(absent)
    return outcome


def decoding(
    config: LlamaConfig, bandwidth: dict[str, float], outcome: RoundsOutcome, measured: Case
) -> Iterator[report.Row]:
    for runner, precision in itertools.product(OURS, PRECISIONS):
        runs = outcome.runs.get((OURS[runner] + precision, measured))
        rate = summarise(runs).decode_per_s if runs else None
        if rate is None:
            continue
        most = bandwidth[precision] / step_bytes(config, precision, 1, measured.prompt + measured.new / 2)
        what = f"decoding one request by {runner}, {precision}"
        yield {"what": what, "value": rate, "unit": "tokens/s", "most": most, "share": rate / most}


def as_served(config: LlamaConfig, memory: float, outcome: RoundsOutcome, measured: Case) -> Iterator[report.Row]:
    """memory: bytes a second of an array that no cache holds."""
    rate = summarise(runs).decode_per_s if (runs := outcome.runs.get((AS_SERVED, measured))) else None
    precision = str(outcome.facts.get(AS_SERVED, {}).get("precision", ""))
    if rate is None or precision not in PRECISIONS:
        return
    most = memory / step_bytes(config, precision, 1, measured.prompt + measured.new / 2)
    what = f"decoding one request as served, {precision}"
    yield {"what": what, "value": rate, "unit": "tokens/s", "most": most, "share": rate / most}


def panel(decoded: list[report.Row]) -> plots.Panel:
    """Measured and highest rate of each precision."""
    names = {"measured": "value", "roofline": "most"}
    lines = {
        name: [(place + 1.0, float(row[key] or 0)) for place, row in enumerate(decoded)] for name, key in names.items()
    }
    order = ", ".join(f"{place + 1} {str(row['what']).split()[-1]}" for place, row in enumerate(decoded))
    return plots.Panel("decoding one request", order, "tokens/s", lines if decoded else {})


def _seconds(given: BenchmarkOptions) -> float:
    return 0.2 if given.quick else 2.0


if __name__ == "__main__":
    sys.exit(main())
