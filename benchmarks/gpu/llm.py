"""LLaMA-13B's shape with random weights on a CUDA device: tokens a second against the measured bandwidth.

    python -m benchmarks.gpu.llm [--quick] [--precisions bf16,fp8,int8] [--widths 1,8,32,64] [--prompts 128] [--new 128]

Without a device it prints that and measures nothing; so for a precision that the device does not have. A decode step
reads all weights once and each sequence's cache once; the measured bandwidth over those bytes is the roofline.
"""

import gc
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch

from benchmarks.contestants.ours_child import generate
from benchmarks.gpu.device import NO_DEVICE, report_nothing
from benchmarks.lib import machine, peaks, plots, report
from benchmarks.lib.options import BenchmarkOptions, chosen, options, parser
from benchmarks.lib.pipe import TokenTimes
from benchmarks.lib.prompts import prompts
from benchmarks.lib.random_models import BlankTokenizer, random_llama
from benchmarks.lib.sizes import step_bytes, weight_bytes
from benchmarks.lib.stats import Case, Run, summarise
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.quant.linear import Precision

LLAMA_13B = LlamaConfig(  # Touvron et al. 2023, table 2; Vicuna-13B's files
    vocab=32000, width=5120, layers=40, heads=40, kv_heads=40, head_dim=128, ffn=13824, max_positions=2048
)
PRECISIONS: Mapping[str, Precision] = MappingProxyType({"bf16": "bf16", "fp16": "fp16", "fp8": "fp8", "int8": "int8"})
DEFAULT = "bf16,fp8,int8"
NAME, TITLE = "gpu-llm", "LLaMA-13B's shape on a CUDA device"
COLUMNS = (
    report.Column("precision", "precision"),
    report.Column("prompt", "prompt", 0),
    report.Column("width", "at once", 0),
    report.Column("tokens_per_s", "tokens/s"),
    report.Column("decode_per_s", "decode tokens/s"),
    report.Column("most", "roofline tokens/s"),
    report.Column("share", "share %", 0, 100),
    report.Column("first_p50", "first token p50 ms", 0, 1000),
    report.Column("gap_p99", "between tokens p99 ms", 1, 1000),
    report.Column("peak_mib", "peak device MiB", 0),
)


def main() -> int:
    args = parser(__doc__)
    args.add_argument("--precisions", default=DEFAULT, help=f"of the products, by comma: {', '.join(PRECISIONS)}")
    words = args.parse_args()
    given, wanted = options(words), words.precisions.split(",")
    unknown = sorted(set(wanted) - set(PRECISIONS))
    if unknown:
        args.error(f"no precision {', '.join(unknown)}; there are {', '.join(PRECISIONS)}")
    if not torch.cuda.is_available():
        return report_nothing(NAME, TITLE, NO_DEVICE)
    facts = machine.facts()
    found = measured(LLAMA_13B, [PRECISIONS[name] for name in wanted], given, "cuda")
    out = (given.out or report.folder(facts)) if given.save else None
    report.publish(found, facts, out)
    if out is not None:
        plots.draw(out / f"{NAME}.png", [panel(found.rows)])
    return 0


def measured(
    config: LlamaConfig, precisions: Sequence[Precision], given: BenchmarkOptions, device: str
) -> report.BenchmarkReport:
    """Every precision in turn; one that the device does not have is absent, with the reason."""
    widths = chosen(given.widths, given.quick, (1, 8), (1, 8, 32, 64))
    lengths = chosen(given.prompts, given.quick, (128,), (128, 512))
    cases = [Case(prompt, given.new or (32 if given.quick else 128), width) for prompt in lengths for width in widths]
    bandwidth = peaks.read_bandwidth(weight_bytes(config, "bf16") // 4, device)
    rows: list[report.Row] = []
    absent: dict[str, str] = {}
    for precision in precisions:
        try:
            llm = random_llama(config, precision, device)
        except ValueError as error:
            absent[precision] = str(error)
            continue
        rows += measure(llm, cases, given.rounds or 3, bandwidth, given.prefill)
        del llm
        forget(device)
    notes = [
        f"Random weights, our engine alone. Measured bandwidth: {bandwidth / 1e9:,.0f} GB/s.",
        "Roofline: that bandwidth over the bytes of a step, weights once and every sequence's cache once.",
    ]
    return report.BenchmarkReport(NAME, TITLE, COLUMNS, rows, notes, absent)


def measure(llm: Llama, wanted: Sequence[Case], rounds: int, bandwidth: float, prefill: int) -> list[report.Row]:
    """A row a case, on the device that `llm` is on."""
    rows = []
    for case in wanted:
        sizes = EngineConfig(
            max_running=case.width, prefill_chunk=prefill, max_model_len=case.prompt + case.new, prefix_blocks=0
        )
        engine = Engine(llm, BlankTokenizer(llm.config.vocab), sizes)
        ids = [list(range(1, llm.config.vocab))] * 2
        passage = [token for half in ids for token in half][: max(llm.config.vocab, case.prompt)]
        turns = [prompts(passage, case.prompt, case.width, turn) for turn in range(rounds + 1)]
        runs = [run_of(generate(engine, llm, turn, case.new)) for turn in turns][1:]  # the first one warms up
        rows.append(row(case, runs, llm.config, llm.precision, bandwidth, device_mib(llm.device)))
    return rows


def row(
    case: Case, runs: Sequence[Run], config: LlamaConfig, precision: Precision, bandwidth: float, peak: float | None
) -> report.Row:
    summary = summarise(runs)
    context = case.prompt + case.new / 2
    most = case.width * bandwidth / step_bytes(config, precision, case.width, context)
    decode = summary.decode_per_s
    return {
        "precision": precision,
        "prompt": case.prompt,
        "width": case.width,
        "new": case.new,
        "tokens_per_s": summary.tokens_per_s,
        "decode_per_s": decode,
        "most": most,
        "share": decode / most if decode is not None else None,
        "first_p50": summary.first_p50,
        "gap_p99": summary.gap_p99,
        "peak_mib": peak,
    }


def run_of(record: TokenTimes) -> Run:
    return Run(tuple(map(tuple, record.arrivals)), tuple(map(len, record.ids)))


def device_mib(device: torch.device) -> float | None:
    """Highest memory that torch took on a GPU since it last forgot."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


def forget(device: str) -> None:
    """Free the last model's memory for the next, and set the peak of memory back."""
    if torch.device(device).type == "cuda":
        gc.collect()  # recorded graphs hold their memory until they go
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def panel(rows: Sequence[report.Row]) -> plots.Panel:
    lines: dict[str, list[tuple[float, float]]] = {}
    for line in rows:
        for name, key in (("measured", "decode_per_s"), ("roofline", "most")):
            lines.setdefault(f"{line['precision']}, prompt {line['prompt']}, {name}", []).append(
                (float(line["width"] or 0), float(line[key] or 0))
            )
    return plots.Panel("decoding, LLaMA-13B", "requests at once", "tokens/s", lines, doubling=True)


if __name__ == "__main__":
    sys.exit(main())
