"""Run a batch so that one bad sequence fails alone: halve what raises, set aside what is not finite."""

from collections.abc import Sequence as Items
from dataclasses import dataclass

import torch
from torch import Tensor

from pandagpt_core.engine.runners.base import Runner
from pandagpt_core.engine.sequence import ScheduledChunk, Sequence

# What torch raises over one batch: shapes, indices, kernels, memory (OutOfMemoryError is a RuntimeError).
BATCH_ERRORS = (RuntimeError, IndexError, ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """`logits` [R, V], a row for each of `ready`, the sequences whose next token can be chosen; and what `failed`."""

    logits: Tensor
    ready: list[Sequence]
    failed: dict[Sequence, str]


def run_isolated(runner: Runner, chunks: Items[ScheduledChunk]) -> StepOutcome:
    """Run the chunks, mark their positions as computed, and sort the sequences into ready and failed."""
    try:
        logits = runner.run(chunks)
    except BATCH_ERRORS as error:
        if len(chunks) > 1:
            middle = len(chunks) // 2
            return _joined(run_isolated(runner, chunks[:middle]), run_isolated(runner, chunks[middle:]))
        return StepOutcome(torch.empty(0, 0), [], {chunks[0].sequence: f"the model failed: {type(error).__name__}"})
    for chunk in chunks:
        chunk.sequence.num_computed_tokens = chunk.end
    return _finite(logits, [chunk.sequence for chunk in chunks if chunk.samples])


def _finite(logits: Tensor, sequences: list[Sequence]) -> StepOutcome:
    fine: list[bool] = logits.sum(dim=-1).isfinite().tolist()  # a sum is finite if all its terms are
    for sequence, is_fine in zip(sequences, fine, strict=True):
        sequence.logits_finite = is_fine
    failed = {s: "the model's output is not finite" for s in sequences if not s.logits_finite}
    if failed:
        logits = logits[torch.tensor(fine, device=logits.device)]
    return StepOutcome(logits, [s for s in sequences if s.logits_finite], failed)


def _joined(first: StepOutcome, second: StepOutcome) -> StepOutcome:
    parts = [outcome.logits for outcome in (first, second) if outcome.ready]
    logits = torch.cat(parts) if parts else first.logits
    return StepOutcome(logits, first.ready + second.ready, first.failed | second.failed)
