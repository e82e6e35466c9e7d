"""Choose the next token of every row at once: penalties, filters, then greedy or inverse CDF at (seed, position)."""

from collections.abc import Sequence as Items
from collections.abc import Sized
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pandagpt_core.engine.filters import filtered
from pandagpt_core.engine.penalties import History, penalised
from pandagpt_core.engine.uniform import uniform
from pandagpt_core.types import SamplingParams


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen token; where the sequence asked for them, its log probability and the likeliest (id, logprob)."""

    token_id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Row(Protocol):
    """What a choice depends on beside the logits. `tokens` are those said before; a sequence is one."""

    @property
    def params(self) -> SamplingParams: ...
    @property
    def history(self) -> History | None: ...
    @property
    def tokens(self) -> Sized: ...


def sample(logits: Tensor, sequences: Items[Row]) -> list[Choice]:
    """[R, V] finite float32 logits of R sequences to one choice each. A row's choice depends on that row alone."""
    tokens = _tokens(_with_penalties(logits, sequences), sequences).tolist()
    choices = [Choice(token) for token in tokens]
    wanting = [row for row, sequence in enumerate(sequences) if sequence.params.logprobs is not None]
    if wanting:
        reported = _reported(logits[wanting], [choices[row] for row in wanting], [sequences[row] for row in wanting])
        for row, choice in zip(wanting, reported, strict=True):
            choices[row] = choice
    return choices


def _with_penalties(logits: Tensor, sequences: Items[Row]) -> Tensor:
    held = [(row, sequence, sequence.history) for row, sequence in enumerate(sequences) if sequence.history is not None]
    if not held:
        return logits
    rows, params = [row for row, _, _ in held], [sequence.params for _, sequence, _ in held]
    logits = logits.clone()
    logits[rows] = penalised(logits[rows], params, [history for _, _, history in held])
    return logits


def _tokens(logits: Tensor, sequences: Items[Row]) -> Tensor:
    drawn = [row for row, sequence in enumerate(sequences) if sequence.params.temperature > 0]
    if len(drawn) == len(sequences):
        return _drawn(logits, sequences)
    tokens = logits.argmax(dim=-1)
    if drawn:
        tokens[drawn] = _drawn(logits[drawn], [sequences[row] for row in drawn])
    return tokens


def _drawn(logits: Tensor, sequences: Items[Row]) -> Tensor:
    weights = filtered(logits, [sequence.params for sequence in sequences])
    u = uniform([s.params.seed for s in sequences], [len(s.tokens) for s in sequences])
    return inverse_cdf(weights, torch.from_numpy(u).to(logits.device))


def inverse_cdf(weights: Tensor, u: Tensor) -> Tensor:
    """[R]: the first token, in the order of the vocabulary, whose cumulated weight exceeds u times the sum.

    weights [R, V] need not sum to 1, u [R] in [0, 1). A token of no weight is never taken, whatever the rounding.
    """
    cumulated = weights.cumsum(dim=-1, dtype=torch.float64)  # [R, V]
    total = cumulated[:, -1:].contiguous()
    last = torch.searchsorted(cumulated, total)  # where the sum is reached: no weight beyond
    return torch.minimum(torch.searchsorted(cumulated, u[:, None] * total, right=True), last).squeeze(-1)


def _reported(logits: Tensor, choices: Items[Choice], sequences: Items[Row]) -> list[Choice]:
    logprobs = torch.log_softmax(logits, dim=-1)
    chosen = logprobs.gather(-1, torch.tensor([[choice.token_id] for choice in choices], device=logits.device))
    widest = min(max(sequence.params.logprobs or 0 for sequence in sequences), logits.shape[-1])
    values, ids = (part.tolist() for part in logprobs.topk(widest))
    return [
        Choice(choice.token_id, value, tuple(zip(ids[row], values[row], strict=True))[: sequence.params.logprobs])
        for row, (choice, (value,), sequence) in enumerate(zip(choices, chosen.tolist(), sequences, strict=True))
    ]
