"""Run a batch so that one bad sequence fails alone: halve what raises, set aside what is not finite."""

from collections.abc import Sequence as Items
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pandagpt_core.engine.passes import finite_rows
from pandagpt_core.engine.runners.base import Runner
from pandagpt_core.engine.sequence import ScheduledChunk, Sequence

# Errors of torch over one batch: shapes, indices, kernels, memory (OutOfMemoryError is a RuntimeError).
BATCH_ERRORS = (RuntimeError, IndexError, ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """`logits` [R, V]: for each chunk of `ready`, whose sequence's next token can be chosen, a row and one for each
    token of its draft. And the sequences that `failed`, with the reason."""

    logits: Tensor
    ready: list[ScheduledChunk]
    failed: dict[Sequence, str]


def run_isolated(runner: Runner, chunks: Items[ScheduledChunk]) -> StepOutcome:
    """Run the chunks, mark their positions as computed, and sort those that sample into ready and failed."""
    try:
        logits = runner.run(chunks)
    except BATCH_ERRORS as error:
        if len(chunks) > 1:
            middle = len(chunks) // 2
            return _joined(run_isolated(runner, chunks[:middle]), run_isolated(runner, chunks[middle:]))
        return StepOutcome(torch.empty(0, 0), [], {chunks[0].sequence: f"the model failed: {type(error).__name__}"})
    for chunk in chunks:
        chunk.sequence.num_computed_tokens = chunk.end
    return _finite(logits, [chunk for chunk in chunks if chunk.samples])


def _finite(logits: Tensor, chunks: list[ScheduledChunk]) -> StepOutcome:
    """A draft ends before its first token whose logits are not finite."""
    fine = finite_rows(logits)
    if all(fine):
        for chunk in chunks:
            chunk.sequence.logits_finite = True
        return StepOutcome(logits, chunks, {})
    ready, rows, failed, row = list[ScheduledChunk](), list[int](), dict[Sequence, str](), 0
    for chunk in chunks:
        sequence, count = chunk.sequence, next((n for n in range(chunk.asked) if not fine[row + n]), chunk.asked)
        sequence.logits_finite = count > 0
        sequence.draft_finite &= count == chunk.asked
        if count > 0:
            ready.append(replace(chunk, draft=chunk.draft[: count - 1]))
            rows += range(row, row + count)
        else:
            failed[sequence] = "the model's output is not finite"
        row += chunk.asked
    return StepOutcome(logits[torch.tensor(rows, dtype=torch.long, device=logits.device)], ready, failed)


def _joined(first: StepOutcome, second: StepOutcome) -> StepOutcome:
    parts = [outcome.logits for outcome in (first, second) if outcome.ready]
    logits = torch.cat(parts) if parts else first.logits
    return StepOutcome(logits, first.ready + second.ready, first.failed | second.failed)
