"""Attention of one packed step against the slot cache: single tokens all at once, longer spans one by one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pandagpt_core.llm.attention import attend_rows, causal_mask, group_queries, grouped_attention, ungroup_queries
from pandagpt_core.llm.cache import SlotCache


@dataclass(frozen=True, slots=True)
class Stretch:
    """`count` new tokens of the sequence in `slot`, from position `start` on."""

    slot: int
    start: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.count


class SlotAttention:
    """An `Attend` for one forward pass over packed rows [N, ...]: stretches of one token first, then longer ones."""

    def __init__(self, cache: SlotCache, stretches: Sequence[Stretch]) -> None:
        self._cache = cache
        device = cache.keys.device
        self._single = sum(stretch.count == 1 for stretch in stretches)
        assert all(stretch.count == 1 for stretch in stretches[: self._single]), "single tokens come first"
        self.positions = torch.tensor([p for s in stretches for p in range(s.start, s.end)], device=device)  # [N]
        self._slots = torch.tensor([s.slot for s in stretches for _ in range(s.count)], device=device)
        self._longer = stretches[self._single :]
        self._longer_masks = [causal_mask(s.count, s.end, device, cache.dtype) for s in self._longer]
        if self._single:
            self._plan_singles(stretches[: self._single])

    def _plan_singles(self, singles: Sequence[Stretch]) -> None:
        """A mask [W, 1, 1, T] over the leading W slots; slots without a token of their own attend to one thing."""
        self._width, self._length = max(s.slot for s in singles) + 1, max(s.end for s in singles)
        ends = [1] * self._width
        for stretch in singles:
            ends[stretch.slot] = stretch.end
        device = self._slots.device
        reach = torch.arange(self._length, device=device) < torch.tensor(ends, device=device)[:, None]
        mask = torch.zeros(reach.shape, dtype=self._cache.dtype, device=device).masked_fill(~reach, float("-inf"))
        self._by_rows = device.type == "cpu" and self._cache.dtype == torch.float32
        kv_heads = self._cache.keys.shape[2]
        self._mask = mask.repeat_interleave(kv_heads, dim=0)[:, None] if self._by_rows else mask[:, None, None]
        self._aligned = [s.slot for s in singles] == list(range(self._width))

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        self._cache.write(layer, self._slots, self.positions, k, v)
        queries = q.to(self._cache.dtype)
        parts = [self._attend_singles(layer, queries[: self._single])] if self._single else []
        row = self._single
        for stretch, mask in zip(self._longer, self._longer_masks, strict=True):
            parts.append(self._attend_longer(layer, queries[row : row + stretch.count], stretch, mask))
            row += stretch.count
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(q.dtype)

    def _attend_singles(self, layer: int, q: Tensor) -> Tensor:
        keys = self._cache.keys[layer, : self._width, :, : self._length]  # [W, KV, T, d], a view
        values = self._cache.values[layer, : self._width, :, : self._length]
        slots = self._slots[: self._single]
        if not self._aligned:
            q = q.new_zeros(self._width, *q.shape[1:]).index_copy(0, slots, q)
        grouped = q.view(self._width, keys.shape[1], -1, q.shape[-1])  # [W, KV, G, d]
        attention = attend_rows if self._by_rows else grouped_attention
        attended = attention(grouped, keys, values, self._mask).flatten(1, 2)  # [W, H, d]
        return attended if self._aligned else attended[slots]

    def _attend_longer(self, layer: int, q: Tensor, stretch: Stretch, mask: Tensor) -> Tensor:
        keys = self._cache.keys[layer, stretch.slot, None, :, : stretch.end]  # [1, KV, T, d]
        values = self._cache.values[layer, stretch.slot, None, :, : stretch.end]
        kv_heads = keys.shape[1]
        rows = group_queries(q[None], kv_heads)  # [1, KV, G*count, d]
        groups = q.shape[1] // kv_heads
        return ungroup_queries(grouped_attention(rows, keys, values, mask.repeat(groups, 1)), stretch.count)[0]
