"""Run a batch so that one bad sequence fails alone: halve what raises, set aside what is not finite."""

from collections.abc import Sequence as Items
from dataclasses import dataclass

import torch
from torch import Tensor

from pandagpt_core.engine.runners.base import Runner
from pandagpt_core.engine.sequence import Sequence, Span

# What torch raises over one batch: shapes, indices, kernels, memory (OutOfMemoryError is a RuntimeError).
BATCH_ERRORS = (RuntimeError, IndexError, ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`logits` [R, V], a row for each of `ready`, the sequences whose next token can be chosen; and what `failed`."""

    logits: Tensor
    ready: list[Sequence]
    failed: dict[Sequence, str]


def run_isolated(runner: Runner, spans: Items[Span]) -> Outcome:
    """Run the spans, mark their positions as computed, and sort the sequences into ready and failed."""
    try:
        logits = runner.run(spans)
    except BATCH_ERRORS as error:
        if len(spans) > 1:
            middle = len(spans) // 2
            return _joined(run_isolated(runner, spans[:middle]), run_isolated(runner, spans[middle:]))
        return Outcome(torch.empty(0, 0), [], {spans[0].sequence: f"the model failed: {type(error).__name__}"})
    for span in spans:
        span.sequence.computed = span.end
    return _finite(logits, [span.sequence for span in spans if span.samples])


def _finite(logits: Tensor, sequences: list[Sequence]) -> Outcome:
    fine: list[bool] = logits.sum(dim=-1).isfinite().tolist()  # a sum is finite if all its terms are
    for sequence, is_fine in zip(sequences, fine, strict=True):
        sequence.proven = is_fine
    failed = {s: "the model's output is not finite" for s in sequences if not s.proven}
    if failed:
        logits = logits[torch.tensor(fine, device=logits.device)]
    return Outcome(logits, [s for s in sequences if s.proven], failed)


def _joined(first: Outcome, second: Outcome) -> Outcome:
    parts = [outcome.logits for outcome in (first, second) if outcome.ready]
    logits = torch.cat(parts) if parts else first.logits
    return Outcome(logits, first.ready + second.ready, first.failed | second.failed)
