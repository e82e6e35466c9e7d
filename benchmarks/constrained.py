"""Decode speed with and without structured output: 16 sequences at once, SmolLM2-135M, our engine.

    python -m benchmarks.constrained [--quick] [--rounds 5] [--width 16] [--new 96] [--out FOLDER | --no-save]

One engine answers the cases in turn, round by round: all sequences free, all held by one JSON schema, one of them
held, and all free with a sampler from which constraints were taken out. A step is timed from the moment that every
sequence has its first token. Processor time is that of the whole process; other work moves it less than elapsed time.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.lib import machine, report
from benchmarks.lib.prompts import PASSAGE, prompts
from benchmarks.lib.weights import source
from pandagpt_core.engine import sampler
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.grammars import json_schema
from pandagpt_core.llm.autotune import served
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.language_model import LanguageModel
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.types import SamplingParams

PROMPT = 32
PERSON: Any = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "kind": {"enum": ["cat", "dog", "panda"]}},
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}
SCHEMA: Any = {"type": "array", "items": PERSON, "minItems": 99}  # longer than an answer
FREE, HELD, ONE, WITHOUT = "free", "all held by a schema", "one held by a schema", "free, no constraints in the sampler"
CASES = (FREE, HELD, ONE, WITHOUT)
COLUMNS = (
    report.Column("case", "sequences"),
    report.Column("step_ms", "step, ms", 2),
    report.Column("cpu_ms", "processor time of a step, ms", 2),
    report.Column("speed", "speed against free %", 1, 100),
    report.Column("cpu_speed", "by processor time %", 1, 100),
)


@dataclass
class Steps:
    """Milliseconds of each step, elapsed and of the processor."""

    elapsed: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def _unchanged(logits: Tensor, _rows: object) -> Tensor:
    return logits


@dataclass(frozen=True)
class Bench:
    llm: LanguageModel
    engine: Engine
    passage: Sequence[int]

    @classmethod
    def load(cls, width: int, threads: int) -> "Bench":
        torch.set_num_threads(threads)
        llm = served(load_llama(source()), "auto", runner="torch")
        tokenizer = load_tokenizer(source())
        config = EngineConfig(max_running=width, max_model_len=512, prefix_blocks=0)
        return cls(llm, Engine(llm, tokenizer, config), tokenizer.encode(PASSAGE))

    def run(self, case: str, width: int, new: int, turn: int) -> Steps:
        """All sequences to their last token. Raises RuntimeError where one ends early."""
        free = SamplingParams(max_tokens=new, temperature=0.0, ignore_eos=True)
        held = SamplingParams(max_tokens=new, temperature=0.0, grammar=json_schema(SCHEMA))
        holding = {HELD: width, ONE: 1}.get(case, 0)
        for index, ids in enumerate(prompts(self.passage, PROMPT, width, turn)):
            inputs = LLMInputs(self.llm.embed(ids), tuple(ids))
            self.engine.add(EngineRequest(str(index), inputs, held if index < holding else free))
        with patch.object(sampler, "constrained", _unchanged if case == WITHOUT else sampler.constrained):
            return self._timed(width, new)

    def _timed(self, width: int, new: int) -> Steps:
        steps, begun, told = Steps(), set[str](), 0
        while self.engine.has_work:
            at, used = time.perf_counter(), time.process_time()
            outputs = self.engine.step()
            if len(begun) == width:
                steps.elapsed.append((time.perf_counter() - at) * 1e3)
                steps.processor.append((time.process_time() - used) * 1e3)
            begun.update(output.sequence_id for output in outputs)
            told += len(outputs)
        if told != width * new:
            raise RuntimeError(f"{told} tokens came of {width * new}")
        return steps


def measured(bench: Bench, width: int, new: int, rounds: int) -> Iterator[report.Row]:
    found = {case: Steps() for case in CASES}
    for turn in range(rounds + 1):
        for case in CASES:
            steps = bench.run(case, width, new if turn else 4, turn)
            if turn:  # the first round warms up
                found[case].elapsed += steps.elapsed
                found[case].processor += steps.processor
    middle = {case: (statistics.median(s.elapsed), statistics.median(s.processor)) for case, s in found.items()}
    for case, (elapsed, processor) in middle.items():
        yield {
            "case": case,
            "step_ms": elapsed,
            "cpu_ms": processor,
            "speed": middle[FREE][0] / elapsed,
            "cpu_speed": middle[FREE][1] / processor,
        }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 sequences, 8 tokens, one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=16, help="sequences at once")
    parser.add_argument("--new", type=int, default=96, help="tokens of each answer")
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--out", type=Path, help="folder for the result")
    parser.add_argument("--no-save", action="store_true")
    given = parser.parse_args(arguments)
    width, new, rounds = (4, 8, 1) if given.quick else (given.width, given.new, given.rounds)
    bench = Bench.load(width, given.threads)
    rows = list(measured(bench, width, new, rounds))
    notes = [
        f"{width} sequences of {new} tokens after prompts of {PROMPT}, greedy, {rounds} rounds in turn, "
        f"{given.threads} threads, {bench.llm.precision} by {bench.llm.backend}. Medians over steps.",
        "The schema is a list of objects of three fields; the vocabulary has 49,152 pieces.",
        f"The load average was {os.getloadavg()[2]:.1f} on {machine.cores()} cores: above their number, other work "
        "moves elapsed time, and processor time less.",
    ]
    facts = machine.facts()
    made = report.BenchmarkReport("constrained", f"Structured output at width {width}", COLUMNS, rows, notes)
    report.publish(made, facts, None if given.no_save else given.out or report.folder(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
