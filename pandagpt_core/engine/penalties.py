"""Penalties on tokens that were already generated: repetition (Keskar et al. 2019), frequency and presence (OpenAI)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pandagpt_core.types import SamplingParams


def penalises(params: SamplingParams) -> bool:
    return params.repetition_penalty != 1.0 or params.frequency_penalty != 0.0 or params.presence_penalty != 0.0


class History:
    """`seen` [V]: in prompt or answer. `counts` [V]: how often in the answer. Kept up to date token by token."""

    def __init__(self, vocab: int, prompt_ids: Sequence[int]) -> None:
        self.seen = torch.zeros(vocab, dtype=torch.bool)
        self.counts = torch.zeros(vocab)
        self.seen[[token_id for token_id in prompt_ids if 0 <= token_id < vocab]] = True

    def count(self, token_id: int) -> None:
        self.seen[token_id] = True
        self.counts[token_id] += 1


def penalised(logits: Tensor, params: Sequence[SamplingParams], histories: Sequence[History]) -> Tensor:
    """[R, V] logits with each row's penalties applied, repetition first."""

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=logits.device)[:, None]

    seen = torch.stack([history.seen for history in histories]).to(logits.device)
    counts = torch.stack([history.counts for history in histories]).to(logits.device)
    repetition = column([p.repetition_penalty for p in params])
    weaker = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(seen, weaker, logits)
    logits = logits - column([p.frequency_penalty for p in params]) * counts
    return logits - column([p.presence_penalty for p in params]) * (counts > 0)
