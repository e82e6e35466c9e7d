"""Penalties against their written definitions."""

import pytest
import torch

from pandagpt_core.engine.penalties import History, penalised, penalises
from pandagpt_core.types import SamplingParams

PARAMS = [
    SamplingParams(repetition_penalty=1.3),
    SamplingParams(frequency_penalty=0.5),
    SamplingParams(presence_penalty=-0.7),
    SamplingParams(repetition_penalty=0.8, frequency_penalty=0.2, presence_penalty=0.4),
]


def plain(logit: float, in_prompt: bool, count: int, params: SamplingParams) -> float:
    if in_prompt or count:
        logit = logit / params.repetition_penalty if logit > 0 else logit * params.repetition_penalty
    return logit - params.frequency_penalty * count - params.presence_penalty * (count > 0)


def test_each_row_gets_its_own_penalties() -> None:
    torch.manual_seed(0)
    logits, prompt, answer = torch.randn(4, 10), [1, 2, -5, 2, 99], [2, 3, 3, 3]
    histories = [History(10, prompt) for _ in PARAMS]
    for history in histories:
        for token_id in answer:
            history.count(token_id)
    result = penalised(logits, PARAMS, histories)
    for row, params in enumerate(PARAMS):
        for token in range(10):
            expected = plain(logits[row, token].item(), token in prompt, answer.count(token), params)
            assert result[row, token].item() == pytest.approx(expected, abs=1e-6)


def test_only_a_penalty_needs_a_history() -> None:
    assert all(map(penalises, PARAMS))
    assert not penalises(SamplingParams(temperature=0.2, top_k=3))
