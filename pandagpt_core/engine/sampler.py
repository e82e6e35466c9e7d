"""Sample the next token of every row at once: penalties, filters, then greedy or a draw at (seed, position).

Filters are temperature, top-k, top-p (Holtzman et al. 2020) and min-p (Nguyen et al. 2024). Each is a floor: tokens
whose probability lies below it are dropped, ties at the floor stay. Floors need the largest probabilities only, so no
row is sorted further than its nucleus goes, in steps that begin with `HEAD`. Random numbers have no state (`draws`).
"""

from collections.abc import Sequence as Items
from collections.abc import Sized
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pandagpt_core.engine.constraints import TokenConstraint, constrained
from pandagpt_core.engine.draws import draw
from pandagpt_core.engine.passes import largest_ids
from pandagpt_core.engine.penalties import History, penalised
from pandagpt_core.types import SamplingParams

HEAD = 1024  # of a row's probabilities, largest first
WIDER = 8  # times a head is the next one, where a nucleus is wider: its floor costs a quarter of a whole row's sort
COLDEST = 1e-30  # a smaller temperature takes the likeliest token as this one does, but would make infinities of logits


@dataclass(frozen=True, slots=True)
class SampledToken:
    """The next token. With `SamplingParams.logprobs`, its log probability and the likeliest as (id, logprob)."""

    token_id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class SamplerRow(Protocol):
    """A sequence as the sampler reads it: the next token depends on these and on the logits alone."""

    @property
    def params(self) -> SamplingParams: ...
    @property
    def history(self) -> History | None: ...
    @property
    def constraints(self) -> Items[TokenConstraint]: ...
    @property
    def tokens(self) -> Sized: ...


def sample(logits: Tensor, sequences: Items[SamplerRow]) -> list[SampledToken]:
    """[R, V] finite float32 logits of R sequences to one token each. A row's token depends on that row alone."""
    weighed = constrained(_with_penalties(logits, sequences), ((row, s.constraints) for row, s in enumerate(sequences)))
    tokens = _tokens(weighed, sequences).tolist()
    choices = [SampledToken(token) for token in tokens]
    wanting = [row for row, sequence in enumerate(sequences) if sequence.params.logprobs is not None]
    if wanting:
        reported = _reported(logits[wanting], [choices[row] for row in wanting], [sequences[row] for row in wanting])
        for row, choice in zip(wanting, reported, strict=True):
            choices[row] = choice
    return choices


def _with_penalties(logits: Tensor, sequences: Items[SamplerRow]) -> Tensor:
    held = [(row, sequence, sequence.history) for row, sequence in enumerate(sequences) if sequence.history is not None]
    if not held:
        return logits
    rows, params = [row for row, _, _ in held], [sequence.params for _, sequence, _ in held]
    logits = logits.clone()
    logits[rows] = penalised(logits[rows], params, [history for _, _, history in held])
    return logits


def _tokens(logits: Tensor, sequences: Items[SamplerRow]) -> Tensor:
    drawn = [row for row, sequence in enumerate(sequences) if sequence.params.temperature > 0]
    if len(drawn) == len(sequences):
        return _drawn(logits, sequences)
    tokens = largest_ids(logits)
    if drawn:
        tokens[drawn] = _drawn(logits[drawn], [sequences[row] for row in drawn])
    return tokens


def _drawn(logits: Tensor, sequences: Items[SamplerRow]) -> Tensor:
    weights = filtered(logits, [sequence.params for sequence in sequences])
    return draw(weights, [s.params.seed for s in sequences], [len(s.tokens) for s in sequences])


def _reported(logits: Tensor, choices: Items[SampledToken], sequences: Items[SamplerRow]) -> list[SampledToken]:
    logprobs = torch.log_softmax(logits, dim=-1)
    chosen = logprobs.gather(-1, torch.tensor([[choice.token_id] for choice in choices], device=logits.device))
    widest = min(max(sequence.params.logprobs or 0 for sequence in sequences), logits.shape[-1])
    values, ids = (part.tolist() for part in logprobs.topk(widest))
    return [
        SampledToken(choice.token_id, value, tuple(zip(ids[row], values[row], strict=True))[: sequence.params.logprobs])
        for row, (choice, (value,), sequence) in enumerate(zip(choices, chosen.tolist(), sequences, strict=True))
    ]


def filtered(logits: Tensor, params: Items[SamplingParams], head: int = HEAD) -> Tensor:
    """[R, V] logits to [R, V] float32 weights, zero where a token is dropped; a row's weights need not sum to 1.

    Temperature first, then top-k, then top-p over what top-k left, then min-p against the likeliest token.
    """
    temperature = _column(logits, [max(p.temperature, COLDEST) for p in params])
    probs = torch.softmax(logits / temperature, dim=-1)
    narrow = [row for row, p in enumerate(params) if p.top_k > 0 or p.top_p < 1]
    if not narrow and not any(p.min_p for p in params):
        return probs
    floors = _column(logits, [p.min_p for p in params]) * probs.amax(dim=-1, keepdim=True)  # [R, 1]
    if narrow:
        heads = _head_floors(probs[narrow], [params[row] for row in narrow], head)
        floors[narrow] = torch.maximum(floors[narrow], heads)
    return torch.where(probs >= floors, probs, 0.0)


def _head_floors(probs: Tensor, params: Items[SamplingParams], head: int) -> Tensor:
    """[R, 1]: the smallest probability that top-k and top-p keep, found among each row's largest."""
    vocab = probs.shape[-1]
    top_k = torch.tensor([p.top_k if 0 < p.top_k < vocab else vocab for p in params], device=probs.device)[:, None]
    top_p = _column(probs, [p.top_p if p.top_p < 1 else float("inf") for p in params]).double()  # 1 keeps all
    width = min(vocab, max(head, max((p.top_k for p in params if p.top_k < vocab), default=0)))
    floors, enough = _floors_in(probs.topk(width).values, top_k, top_p, vocab)
    if not bool(enough.all()):  # a nucleus wider than the head
        wide: list[int] = (~enough).squeeze(-1).nonzero().squeeze(-1).tolist()
        floors[wide] = _head_floors(probs[wide], [params[row] for row in wide], head * WIDER)
    return floors


def _floors_in(head: Tensor, top_k: Tensor, top_p: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
    """Floors [R, 1] from descending probabilities [R, K], and whether K of them were enough to know [R, 1]."""
    width = head.shape[-1]
    kth = head.gather(-1, (top_k - 1).clamp(max=width - 1))  # meaningless where top-k is off, and unused
    kept = torch.where((top_k < vocab) & (head < kth), 0.0, head.double())
    mass = torch.where(top_k < vocab, kept.sum(dim=-1, keepdim=True), 1.0)
    before = kept.cumsum(dim=-1) - kept
    inside = (before < top_p * mass) & (kept > 0)
    inside[:, 0] = True
    last = inside.sum(dim=-1, keepdim=True) - 1
    enough = (width == vocab) | (last < width - 1) | (top_k < vocab)
    return head.gather(-1, last), enough


def _column(like: Tensor, values: Items[float]) -> Tensor:
    return torch.tensor(values, device=like.device)[:, None]
