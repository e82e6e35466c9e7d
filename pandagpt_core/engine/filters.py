"""Temperature, top-k, top-p (Holtzman et al. 2020) and min-p (Nguyen et al. 2024) over a batch of rows.

Each filter is a floor: tokens whose probability lies below it are dropped, ties at the floor stay. Floors need the
largest probabilities only, so no row is sorted whole unless its nucleus is wider than `HEAD`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pandagpt_core.types import SamplingParams

HEAD = 1024


def filtered(logits: Tensor, params: Sequence[SamplingParams], head: int = HEAD) -> Tensor:
    """[R, V] logits to [R, V] float32 weights, zero where a token is dropped; a row's weights need not sum to 1.

    Temperature first, then top-k, then top-p over what top-k left, then min-p against the likeliest token.
    """
    temperature, min_p = _column(logits, [p.temperature for p in params]), _column(logits, [p.min_p for p in params])
    probs = torch.softmax(logits / temperature, dim=-1)
    floors = min_p * probs.amax(dim=-1, keepdim=True)  # [R, 1]
    narrow = [row for row, p in enumerate(params) if p.top_k > 0 or p.top_p < 1]
    if narrow:
        heads = _head_floors(probs[narrow], [params[row] for row in narrow], head)
        floors[narrow] = torch.maximum(floors[narrow], heads)
    return torch.where(probs >= floors, probs, 0.0)


def _head_floors(probs: Tensor, params: Sequence[SamplingParams], head: int) -> Tensor:
    """[R, 1]: the smallest probability that top-k and top-p keep, found among each row's largest."""
    vocab = probs.shape[-1]
    top_k = torch.tensor([p.top_k if 0 < p.top_k < vocab else vocab for p in params], device=probs.device)[:, None]
    top_p = _column(probs, [p.top_p if p.top_p < 1 else float("inf") for p in params]).double()  # 1 keeps all
    width = min(vocab, max(head, max((p.top_k for p in params if p.top_k < vocab), default=0)))
    floors, enough = _floors_in(probs.topk(width).values, top_k, top_p, vocab)
    if not bool(enough.all()):  # a nucleus wider than the head: sort those rows
        rows = (~enough).squeeze(-1).nonzero().squeeze(-1)
        floors[rows], _ = _floors_in(probs[rows].sort(descending=True).values, top_k[rows], top_p[rows], vocab)
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


def _column(like: Tensor, values: Sequence[float]) -> Tensor:
    return torch.tensor(values, device=like.device)[:, None]
