"""Temperature, top-k, top-p and min-p against a loop over sorted tokens."""

import itertools

import pytest
import torch
from torch import Tensor

from pandagpt_core.engine.filters import filtered
from pandagpt_core.types import SamplingParams


def kept_by_force(logits: list[float], params: SamplingParams) -> set[int]:
    """The definitions, one token at a time, in double precision."""
    scaled = torch.tensor(logits, dtype=torch.float64) / params.temperature
    probs = torch.softmax(scaled, dim=-1).tolist()
    order = sorted(range(len(probs)), key=lambda n: -probs[n])
    if params.top_k:
        order = order[: params.top_k]
    total, kept = sum(probs[n] for n in order), []
    before = 0.0
    for n in order:
        if before >= params.top_p * total and kept:
            break
        kept.append(n)
        before += probs[n]
    return {n for n in kept if probs[n] >= params.min_p * max(probs)}


def kept(row: Tensor) -> set[int]:
    return set(row.nonzero().squeeze(-1).tolist())


GRID = [
    SamplingParams(temperature=t, top_k=k, top_p=p, min_p=m)
    for t, k, p, m in itertools.product([0.7, 1.5], [0, 1, 7, 200], [1.0, 0.9, 0.3, 1e-6], [0.0, 0.05])
]


@pytest.mark.parametrize("head", [4, 1024])
def test_every_mix_of_filters_keeps_what_its_definition_keeps(head: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(len(GRID), 120) * 2
    weights = filtered(logits, GRID, head)  # with a head of 4 most rows need the full sort
    for row, params in enumerate(GRID):
        assert kept(weights[row]) == kept_by_force(logits[row].tolist(), params), params


def test_kept_weights_have_the_proportions_of_the_tempered_distribution() -> None:
    logits = torch.randn(1, 50)
    weights = filtered(logits, [SamplingParams(temperature=0.5, top_k=9)])[0]
    expected = torch.softmax(logits[0] / 0.5, dim=-1)
    assert torch.equal(weights[weights > 0], expected[weights > 0])


def test_a_row_is_filtered_the_same_alone_and_among_others() -> None:
    logits = torch.randn(len(GRID), 3000)
    together = filtered(logits, GRID)
    for row, params in enumerate(GRID):
        assert torch.equal(filtered(logits[row : row + 1], [params])[0], together[row])


def test_ties_at_the_floor_all_stay() -> None:
    logits = torch.tensor([[1.0, 0.0, 0.0, 0.0, -5.0]])
    assert kept(filtered(logits, [SamplingParams(top_k=2)])[0]) == {0, 1, 2, 3}
