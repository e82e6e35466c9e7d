"""Sampling: each filter by its definition, and rows that depend on nothing but themselves."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pandagpt_core.engine.penalties import History
from pandagpt_core.engine.sampler import filtered, sample
from pandagpt_core.engine.sequence import AnswerText, Sequence
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.tokenizers.detokenizer import Detokenizer, PieceTable
from pandagpt_core.types import SamplingParams

VOCAB = 40
MakeRow = Callable[..., Sequence]


@pytest.fixture
def make_row() -> MakeRow:
    """A sequence that has said `said` tokens so far."""

    def make(said: int = 0, history: History | None = None, **params: object) -> Sequence:
        text = AnswerText(Detokenizer(PieceTable([], strips_space=False)), ())
        inputs = LLMInputs(torch.zeros(1, 4), (0,))
        tokens = [0] * said
        return Sequence("row", inputs, SamplingParams(**params), text, 99, frozenset(), history=history, tokens=tokens)

    return make


def test_temperature_zero_takes_the_likeliest(make_row: MakeRow) -> None:
    logits = torch.randn(3, VOCAB)
    choices = sample(logits, [make_row(temperature=0.0) for _ in range(3)])
    assert [choice.token_id for choice in choices] == logits.argmax(dim=-1).tolist()


@pytest.mark.parametrize("temperature", [1e-45, 1e-38, 1e-30])  # the first is 0's neighbour in float32
def test_a_temperature_next_to_zero_takes_the_likeliest(make_row: MakeRow, temperature: float) -> None:
    logits = 40 * torch.randn(3, VOCAB)
    choices = sample(logits, [make_row(temperature=temperature, top_p=0.9, seed=seed) for seed in range(3)])
    assert [choice.token_id for choice in choices] == logits.argmax(dim=-1).tolist()


def test_draws_follow_the_distribution(make_row: MakeRow) -> None:
    logits = torch.randn(1, 8)
    rows = [make_row(seed=seed, temperature=0.8) for seed in range(8000)]
    counts = np.bincount([c.token_id for c in sample(logits.expand(8000, -1), rows)], minlength=8)
    expected = torch.softmax(logits[0] / 0.8, dim=-1).numpy() * 8000
    assert ((counts - expected) ** 2 / expected).sum() < 25  # chi-square with 7 degrees of freedom, p < 0.001


def test_a_row_is_chosen_alike_alone_and_among_others(make_row: MakeRow) -> None:
    logits = torch.randn(6, VOCAB)
    rows = [
        make_row(temperature=0.0),
        make_row(5, seed=1),
        make_row(2, seed=2, top_k=3, temperature=2.0),
        make_row(9, seed=3, top_p=0.5),
        make_row(1, history=History(VOCAB, [1, 2, 3]), seed=4, repetition_penalty=2.0),
        make_row(7, seed=5, min_p=0.2, logprobs=2),
    ]
    together = sample(logits, rows)
    assert [sample(logits[n : n + 1], [row])[0] for n, row in enumerate(rows)] == together


def test_a_dropped_token_is_never_drawn(make_row: MakeRow) -> None:
    logits = torch.zeros(500, VOCAB)
    logits[:, 20:] = -1e4
    rows = [make_row(seed=seed, temperature=50.0, top_k=20) for seed in range(500)]
    assert max(choice.token_id for choice in sample(logits, rows)) < 20


def test_penalties_reach_greedy_rows_and_not_their_neighbours(make_row: MakeRow) -> None:
    logits = torch.zeros(2, VOCAB)
    logits[:, 7] = 1.0
    logits[:, 8] = 0.9
    penalised = make_row(history=History(VOCAB, [7]), temperature=0.0, repetition_penalty=1.5)
    choices = sample(logits, [penalised, make_row(temperature=0.0)])
    assert [choice.token_id for choice in choices] == [8, 7]


def test_logprobs_are_of_the_model_before_filters_and_sum_to_one(make_row: MakeRow) -> None:
    logits = torch.randn(2, VOCAB)
    rows = [make_row(logprobs=VOCAB, top_k=1, temperature=0.1), make_row(logprobs=3)]
    first, second = sample(logits, rows)
    expected = torch.log_softmax(logits, dim=-1)
    assert sum(np.exp(value) for _, value in first.top) == pytest.approx(1.0, abs=1e-5)
    assert first.logprob == pytest.approx(expected[0, first.token_id].item())
    assert second.logprob == pytest.approx(expected[1, second.token_id].item())
    assert [token for token, _ in second.top] == expected[1].topk(3).indices.tolist()


def test_zero_alternatives_still_report_the_chosen_one(make_row: MakeRow) -> None:
    choice = sample(torch.randn(1, VOCAB), [make_row(logprobs=0)])[0]
    assert choice.logprob is not None
    assert choice.top == ()


def test_no_logprobs_are_reported_unasked(make_row: MakeRow) -> None:
    assert sample(torch.randn(1, VOCAB), [make_row()])[0].logprob is None


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
    weights = filtered(logits, GRID, head)  # with a head of 4 most rows need a wider one, and some the full sort
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
