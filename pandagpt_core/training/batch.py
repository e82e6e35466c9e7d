"""A batch of laid-out conversations, and the loss on its answers, which every trainer here minimises."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pandagpt_core.llm.attention.base import Attend, CausalAttention, causal_mask
from pandagpt_core.llm.llama import Llama

IGNORED = -100


@dataclass(frozen=True, slots=True)
class MediumTokens:
    """A resampler's input from one medium: its tower, the tokens [clips, T, W], a mask of those that count (None:
    all)."""

    tower: str
    tokens: Tensor
    keep: Tensor | None = None

    def to(self, device: torch.device) -> "MediumTokens":
        return MediumTokens(self.tower, self.tokens.to(device), None if self.keep is None else self.keep.to(device))


@dataclass(frozen=True, slots=True)
class Batch:
    """B sequences padded on the right to T, and M media embeddings with the row and place that each is added to.

    tokens, targets: [B, T]; `keep` [B, T] is False at padding; `soft` [B, T] is True at the media's slots.
    vectors: [M, E], weights, rows, places: [M]. M is at least 1: without media one vector of weight 0 stands in, so
    that the projection has a part, if none of the gradient, in every batch (data-parallel training waits for it).
    media: with a resampler, each medium of `vectors` in order, which has k of them.
    """

    tokens: Tensor
    targets: Tensor
    keep: Tensor
    soft: Tensor
    vectors: Tensor
    weights: Tensor
    rows: Tensor
    places: Tensor
    media: tuple[MediumTokens, ...] = ()

    @property
    def learned(self) -> int:
        """Positions whose target counts; the first of a sequence is predicted from nothing."""
        return int((self.targets[:, 1:] != IGNORED).sum())

    def to(self, device: torch.device) -> "Batch":
        moved = {field.name: getattr(self, field.name).to(device) for field in fields(self) if field.name != "media"}
        return Batch(**moved, media=tuple(medium.to(device) for medium in self.media))


class Sums(NamedTuple):
    """Over a batch's learned positions: summed cross entropy; how many were predicted right, of how many counted.

    PandaGPT counts accuracy so: a sequence's first target position is left out.
    """

    loss: Tensor
    right: Tensor
    counted: Tensor


def collate(
    ids: Sequence[Sequence[int | None]],
    targets: Sequence[Sequence[int]],
    media: Sequence[Sequence[Tensor]],
    width: int,
) -> Batch:
    """Sequences with one None where their media [E] go together, or one for each row of a medium; `width` is E.

    Without any the media belong to the sequence as a whole (ImageBind-LLM), and their place is -1.
    """
    longest = max(map(len, ids))
    tokens = torch.zeros(len(ids), longest, dtype=torch.long)
    wanted = torch.full((len(ids), longest), IGNORED)
    soft = torch.zeros(len(ids), longest, dtype=torch.bool)
    for row, (one, goal) in enumerate(zip(ids, targets, strict=True)):
        tokens[row, : len(one)] = torch.tensor([token or 0 for token in one])
        wanted[row, : len(goal)] = torch.tensor(goal)
        soft[row, : len(one)] = torch.tensor([token is None for token in one])
    keep = torch.arange(longest) < torch.tensor([[len(one)] for one in ids])
    places = [(row, *placed) for row, vectors in enumerate(media) for placed in _placed(ids[row], vectors)]
    rows, columns, vectors = zip(*(places or [(0, 0, torch.zeros(width))]), strict=True)
    weights = torch.full((len(vectors),), 1.0 if places else 0.0)
    return Batch(
        tokens, wanted, keep, soft, torch.stack(vectors).float(), weights, torch.tensor(rows), torch.tensor(columns)
    )


def _placed(ids: Sequence[int | None], vectors: Sequence[Tensor]) -> list[tuple[int, Tensor]]:
    """Each vector with its place: the rows of each medium over the places that there are, in order."""
    slots = [place for place, token in enumerate(ids) if token is None] or [-1]
    return list(zip(slots * (len(vectors) // len(slots)), vectors, strict=True)) if vectors else []


def answer_sums(llm: Llama, projection: nn.Module, batch: Batch) -> Sums:
    """One forward pass. Several media of one sequence are projected and summed, as in service (`fusion`)."""
    assert int(batch.places.min()) >= 0, "media without a place in their sequence"
    added = projection(batch.vectors).float() * batch.weights[:, None]  # [M, D]
    embeds = llm.embed(batch.tokens).masked_fill(batch.soft[:, :, None], 0.0)
    embeds = embeds.index_put((batch.rows, batch.places), added, accumulate=True)  # [B, T, D]
    positions = torch.arange(embeds.shape[1], device=embeds.device).expand(len(embeds), -1)
    hidden = llm.hidden(embeds, positions, attention(batch.keep))
    learned = batch.targets[:, 1:] != IGNORED  # the head is the widest product: only where something is learned
    logits, target = llm.logits(hidden[:, :-1][learned]).float(), batch.targets[:, 1:][learned]
    counted = learned.nonzero()[:, 1] > 0
    right = (logits.argmax(dim=-1) == target)[counted].sum()
    return Sums(F.cross_entropy(logits, target, reduction="sum"), right, counted.sum())


def attention(keep: Tensor) -> Attend:
    """Attention with a backward pass, on `keep`'s device: written out on a CPU, the fused kernel on an accelerator."""
    return PlainAttention(keep) if keep.device.type == "cpu" else CausalAttention(keep)


class PlainAttention:
    """Causal attention written out: on a CPU its backward pass is faster than the fused one's. `keep` is [B, T]."""

    def __init__(self, keep: Tensor) -> None:
        length = keep.shape[1]
        mask = causal_mask(length, length, keep.device)[None, :, :].masked_fill(~keep[:, None, :], float("-inf"))
        self.mask = mask[:, None, None]  # [B, 1, 1, T, T]

    def __call__(self, _layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        batch, length, heads, dim = q.shape
        groups = q.view(batch, length, k.shape[2], -1, dim).permute(0, 2, 3, 1, 4)  # [B, KV, G, T, d]
        keys, values = (x.transpose(1, 2)[:, :, None] for x in (k, v))  # [B, KV, 1, T, d]
        weights = (groups @ keys.transpose(-1, -2) * dim**-0.5 + self.mask).softmax(dim=-1)
        attended: Tensor = (weights.to(values.dtype) @ values).permute(0, 3, 1, 2, 4)
        return attended.reshape(batch, length, heads, dim)
