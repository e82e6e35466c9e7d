"""Decode speed with and without drafts: SmolLM2-135M, our engine in int8, the same requests in turn.

    python -m benchmarks.speculation [--quick] [--rounds 3] [--widths 1,4,16] [--new 128] [--out FOLDER | --no-save]

Three kinds of requests: a text that goes on, greedily, as the comparison with the peers has it (a small model repeats
itself in such answers); the same with a temperature of 0.7; and a list of people that the model has to write out again,
sampled too, as edits and extractions are. Prompts are read before the time begins to count. Drafts are by prompt lookup
alone, and beside it by the small default's table of n-grams.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.contestants.service_folder import TABLE
from benchmarks.lib import machine, procs, report
from benchmarks.lib.prompts import PASSAGE, prompts
from benchmarks.lib.weights import source
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.llm.autotune import served
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.language_model import LanguageModel
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.loading import read_ngrams
from pandagpt_core.types import SamplingParams

DRAFTED = 7  # tokens, as the worker's setting has it
NAMES = ("Ada Byron", "Grace Murray", "Emmy Noether", "Lise Meitner", "Mary Ward", "Jane Marcet", "Ida Rhodes")
GREEDY, SAMPLED, COPIED = "a text, greedy", "a text, temperature 0.7", "a list written out again, temperature 0.7"
TEMPERATURE = {GREEDY: 0.0, SAMPLED: 0.7, COPIED: 0.7}
COLUMNS = (
    report.Column("case", "requests"),
    report.Column("width", "at once"),
    report.Column("plain", "without drafts (tokens/s)", 1),
    report.Column("lookup", "drafts by prompt lookup (tokens/s)", 1),
    report.Column("table", "by the table too (tokens/s)", 1),
    report.Column("times_lookup", "times as fast by lookup", 2),
    report.Column("times", "by both", 2),
    report.Column("tokens", "tokens of a step and sequence", 2),
    report.Column("accepted", "drafted tokens accepted %", 0, 100),
)


@dataclass(frozen=True)
class DecodeRun:
    """Seconds and steps from the moment that every sequence has its first token; tokens in them."""

    seconds: float
    steps: int
    tokens: int


@dataclass(frozen=True)
class DraftBench:
    llm: LanguageModel
    tokenizer: Tokenizer
    plain: Engine
    lookup: Engine
    drafting: Engine

    @classmethod
    def load(cls, threads: int, width: int) -> "DraftBench":
        torch.set_num_threads(threads)
        llm, tokenizer = served(load_llama(source()), "int8", runner="openvino"), load_tokenizer(source())
        plain, drafting = (
            EngineConfig(max_running=width, max_model_len=512, prefix_blocks=0, speculative_tokens=count)
            for count in (0, DRAFTED)
        )
        table = read_ngrams(TABLE.parent, llm.config.vocab)
        engines = [Engine(llm, tokenizer, plain), Engine(llm, tokenizer, drafting)]
        return cls(llm, tokenizer, *engines, Engine(llm, tokenizer, drafting, ngrams=table))

    def run(self, engine: Engine, case: str, width: int, new: int, turn: int) -> DecodeRun:
        for index, ids in enumerate(self._prompts(case, width, turn)):
            params = SamplingParams(max_tokens=new, temperature=TEMPERATURE[case], seed=index, ignore_eos=True)
            engine.add(EngineRequest(str(index), LLMInputs(self.llm.embed(ids), tuple(ids)), params))
        begun = set[str]()
        while len(begun) < width:
            begun.update(output.sequence_id for output in engine.step())
        at, steps, tokens = time.perf_counter(), 0, 0
        while engine.has_work:
            tokens, steps = tokens + len(engine.step()), steps + 1
        return DecodeRun(time.perf_counter() - at, steps, tokens)

    def _prompts(self, case: str, width: int, turn: int) -> Sequence[Sequence[int]]:
        if case != COPIED:
            return prompts(self.tokenizer.encode(PASSAGE), 32, width, turn)
        return [self.tokenizer.encode(_copying(turn * width + index)) for index in range(width)]


def _copying(number: int) -> str:
    """A list, and its first entries once more."""
    names = [NAMES[(number + at) % len(NAMES)] for at in range(len(NAMES))]
    rows = [f"- {name}, born {1700 + (number * 7 + at * 31) % 250}" for at, name in enumerate(names)]
    return "\n".join(("The list:", *rows, "", "The list once more:", *rows[:2], "-"))


def measured(bench: DraftBench, widths: Sequence[int], new: int, rounds: int) -> Iterator[report.Row]:
    for case in TEMPERATURE:
        for width in widths:
            yield _row(bench, case, width, new, rounds)


def _row(bench: DraftBench, case: str, width: int, new: int, rounds: int) -> report.Row:
    engines = (bench.plain, bench.lookup, bench.drafting)
    runs: list[list[DecodeRun]] = [[] for _ in engines]
    before = bench.drafting.stats()
    for turn in range(rounds):
        for engine, held in zip(engines, runs, strict=True):
            held.append(bench.run(engine, case, width, new, turn))
    after = bench.drafting.stats()
    plain, lookup, both = [statistics.median(one.tokens / one.seconds for one in each) for each in runs]
    drafted = after.drafted - before.drafted
    return {
        "case": case,
        "width": width,
        "plain": plain,
        "lookup": lookup,
        "table": both,
        "times_lookup": lookup / plain,
        "times": both / plain,
        "tokens": sum(one.tokens for one in runs[-1]) / sum(one.steps for one in runs[-1]) / width,
        "accepted": (after.accepted - before.accepted) / drafted if drafted else None,
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="widths of 1 and 2, 16 tokens, one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--widths", default="1,4,16", help="sequences at once, by comma")
    parser.add_argument("--new", type=int, default=128, help="tokens of each answer")
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--out", type=Path, help="folder for the result")
    parser.add_argument("--no-save", action="store_true")
    given = parser.parse_args(arguments)
    widths = (1, 2) if given.quick else tuple(int(width) for width in given.widths.split(","))
    new, rounds = (16, 1) if given.quick else (given.new, given.rounds)
    bench = DraftBench.load(given.threads, max(widths))
    bench.run(bench.plain, GREEDY, 1, 4, rounds)  # the work of the first run only
    watch = procs.Watch(list, machine.cores())
    rows = list(measured(bench, widths, new, rounds))
    notes = [
        f"{new} tokens each, {rounds} rounds in turn, {given.threads} threads, {bench.llm.precision} by "
        f"{bench.llm.backend}, {DRAFTED} drafted tokens at most. Medians over rounds.",
        "Drafts change no answer where rows are computed alike in every batch (float32, but for near ties).",
        "With several at once the step lasts as long as its slowest sequence goes on: tokens of a step and sequence "
        "counts sequences that have ended as places.",
        report.quietness([watch.others()]),
    ]
    facts = machine.facts()
    made = report.BenchmarkReport("speculation", "Drafts, SmolLM2-135M", COLUMNS, rows, notes)
    report.publish(made, facts, None if given.no_save else given.out or report.folder(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
