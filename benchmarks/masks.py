"""Token masks of structured output: the cost of compiling a schema and of a mask, by library and vocabulary.

    python -m benchmarks.masks [--quick] [--out FOLDER]

llguidance, which the engine uses, and xgrammar where it is installed; "in the engine" is llguidance's mask applied to a
row of logits. The vocabularies are SmolLM2's (49,152 pieces) and one as large as Qwen's (151,936), synthesised:
SmolLM2's pieces and joins of two of them. Each document is read token by token; before each token its mask is computed.
Times are the process's own processor time, one thread.
"""

import argparse
import importlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from benchmarks.lib import machine, report
from benchmarks.lib.weights import source
from pandagpt_core.engine.constraints import GrammarConstraint
from pandagpt_core.grammars import LIMITS, compiled, json_schema
from pandagpt_core.llm.tokenizers.base import load_tokenizer

LARGE = 151_936
PERSON: Any = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "kind": {"enum": ["cat", "dog", "panda"]}},
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, tuple[Any, Any]] = {
    "object of 3": (PERSON, {"name": "Bao Bao the Second", "age": 12, "kind": "panda"}),
    "list of objects": (
        {"type": "array", "items": PERSON, "maxItems": 9},
        [{"name": f"Panda number {n} of the valley", "age": n, "kind": "panda"} for n in range(9)],
    ),
}
COLUMNS = (
    report.Column("library", "library"),
    report.Column("vocabulary", "vocabulary", 0),
    report.Column("schema", "schema"),
    report.Column("setup_ms", "vocabulary read, ms", 0),
    report.Column("compile_ms", "schema compiled, ms", 2),
    report.Column("median_us", "mask, median µs", 1),
    report.Column("p99_us", "mask, p99 µs", 1),
    report.Column("tokens", "tokens", 0),
)


class MaskVocabulary:
    """Pieces as llguidance reads a tokenizer. `special` has no text."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.tokens = list(pieces)
        self.special_token_ids = [index for index, piece in enumerate(pieces) if not piece]
        self.eos_token_id, self.bos_token_id = self.special_token_ids[0], None

    def __call__(self, text: str) -> list[int]:
        """llguidance requires it. The masks measured here never call it."""
        raise NotImplementedError("this vocabulary has pieces, and no tokenizer")


class Masks(Protocol):
    """One library over one vocabulary."""

    def begin(self, schema: Any) -> tuple[Callable[[], object], Callable[[int], object]]:
        """Compile; returns the function that computes a mask, and the one that takes a token."""
        ...


class Llguidance:
    def __init__(self, vocabulary: MaskVocabulary) -> None:
        self.tokenizer = LLTokenizer(TokenizerWrapper(vocabulary))

    def begin(self, schema: Any) -> tuple[Callable[[], object], Callable[[int], object]]:
        matcher = LLMatcher(self.tokenizer, compiled(json_schema(schema)), limits=LIMITS)
        return matcher.compute_bitmask, matcher.consume_token


class InTheEngine(Llguidance):
    """The mask as the sampler applies it to a row of logits."""

    def __init__(self, vocabulary: MaskVocabulary) -> None:
        super().__init__(vocabulary)
        self._logits, self._ends = torch.zeros(len(vocabulary.tokens)), [vocabulary.eos_token_id]

    def begin(self, schema: Any) -> tuple[Callable[[], object], Callable[[int], object]]:
        matcher = LLMatcher(self.tokenizer, compiled(json_schema(schema)), limits=LIMITS)
        constraint = GrammarConstraint(matcher, self._ends, len(self._logits))
        return lambda: constraint.apply(self._logits), constraint.consume


class Xgrammar:
    def __init__(self, vocabulary: MaskVocabulary) -> None:
        self._library: Any = importlib.import_module("xgrammar")
        self._size = len(vocabulary.tokens)
        info = self._library.TokenizerInfo(
            vocabulary.tokens,
            self._library.VocabType.RAW,
            vocab_size=self._size,
            stop_token_ids=[vocabulary.eos_token_id],
        )
        self._compiler = self._library.GrammarCompiler(info, max_threads=1, cache_enabled=False)

    def begin(self, schema: Any) -> tuple[Callable[[], object], Callable[[int], object]]:
        grammar = self._compiler.compile_json_schema(json.dumps(schema), any_whitespace=False)
        matcher = self._library.GrammarMatcher(grammar)
        bits = self._library.allocate_token_bitmask(1, self._size)
        return lambda: matcher.fill_next_token_bitmask(bits), matcher.accept_token


LIBRARIES: dict[str, Callable[[MaskVocabulary], Masks]] = {
    "llguidance": Llguidance,
    "in the engine": InTheEngine,
    "xgrammar": Xgrammar,
}


def vocabularies(sizes: Sequence[int]) -> Iterator[MaskVocabulary]:
    tokenizer = load_tokenizer(source())
    pieces = [tokenizer.token_bytes(index) for index in range(tokenizer.size)]
    known, draw = set(pieces), random.Random(0)
    for size in sizes:
        while len(pieces) < size:
            joined = draw.choice(pieces) + draw.choice(pieces)
            if joined not in known:
                known.add(joined)
                pieces.append(joined)
        yield MaskVocabulary(pieces[:size])


def measured(library: str, vocabulary: MaskVocabulary, rounds: int) -> Iterator[report.Row]:
    begun = time.process_time()
    masks = LIBRARIES[library](vocabulary)
    setup = time.process_time() - begun
    reader = LLTokenizer(TokenizerWrapper(vocabulary))
    for name, (schema, document) in SCHEMAS.items():
        tokens = reader.greedy_tokenize(json.dumps(document))
        compiling, times = [], []
        for _ in range(rounds):
            at = time.process_time()
            mask, take = masks.begin(schema)
            compiling.append(time.process_time() - at)
            for token in tokens:
                at = time.process_time()
                mask()
                times.append(time.process_time() - at)
                take(token)
        times.sort()
        yield {
            "library": library,
            "vocabulary": len(vocabulary.tokens),
            "schema": name,
            "setup_ms": setup * 1e3,
            "compile_ms": sorted(compiling)[len(compiling) // 2] * 1e3,
            "median_us": times[len(times) // 2] * 1e6,
            "p99_us": times[int(len(times) * 0.99)] * 1e6,
            "tokens": len(tokens),
        }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="SmolLM2's vocabulary alone, few rounds")
    parser.add_argument("--out", type=Path, help="folder for the result")
    given = parser.parse_args(arguments)
    rows: list[report.Row] = []
    absent: dict[str, str] = {}
    for vocabulary in vocabularies((49_152,) if given.quick else (49_152, LARGE)):
        for library in LIBRARIES:
            try:
                rows += measured(library, vocabulary, 3 if given.quick else 30)
            except ImportError:
                absent[library] = "not installed"
    notes = [
        "The larger vocabulary is synthesised from the smaller one's pieces.",
        "Other work ran beside; processor time is less moved by that than elapsed time.",
    ]
    title = "Masks of structured output"
    report.publish(report.BenchmarkReport("masks", title, COLUMNS, rows, notes, absent), machine.facts(), given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
