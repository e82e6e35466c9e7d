"""Attention of one packed step against the slot cache: single tokens all at once, longer spans slot by slot.

Masks, places and views are the same for every layer and made once a step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pandagpt_core.llm.attention.base import attend_rows, causal_mask, group_queries, grouped_attention, ungroup_queries
from pandagpt_core.llm.attention.cache import SlotCache


@dataclass(frozen=True, slots=True)
class SlotChunk:
    """`count` new tokens of the sequence in `slot`, from position `start` on."""

    slot: int
    start: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.count


class SlotAttention:
    """An `Attend` for one forward pass over packed rows [N, ...]: chunks of one token first, then longer ones."""

    def __init__(self, cache: SlotCache, chunks: Sequence[SlotChunk]) -> None:
        self._cache = cache
        device = cache.keys.device
        single = sum(chunk.count == 1 for chunk in chunks)
        assert all(chunk.count == 1 for chunk in chunks[:single]), "single tokens come first"
        self.positions = torch.tensor([p for s in chunks for p in range(s.start, s.end)], device=device)  # [N]
        slots = torch.tensor([s.slot for s in chunks for _ in range(s.count)], device=device)
        self._rows = cache.rows(slots, self.positions)
        self._parts: list[Singles | Longer] = [Singles(cache, chunks[:single])] if single else []
        self._parts += [Longer(cache, first, number) for first, number in _alike(chunks[single:])]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        self._cache.write(layer, self._rows, k, v)
        queries = q.to(self._cache.dtype)
        if len(self._parts) == 1:
            return self._parts[0](layer, queries).to(q.dtype)
        counts = [part.count for part in self._parts]
        pieces = [part(layer, rows) for part, rows in zip(self._parts, torch.split(queries, counts), strict=True)]
        return torch.cat(pieces).to(q.dtype)


class Singles:
    """One new token in each of some slots: attention over the leading slots as far as the longest of them reaches."""

    def __init__(self, cache: SlotCache, chunks: Sequence[SlotChunk]) -> None:
        """A mask [W, T] over the leading W slots; slots without a token of their own attend to one position."""
        self.count, self._width = len(chunks), max(s.slot for s in chunks) + 1
        length, device = max(s.end for s in chunks), cache.keys.device
        ends = [1] * self._width
        for chunk in chunks:
            ends[chunk.slot] = chunk.end
        reach = torch.arange(length, device=device) < torch.tensor(ends, device=device)[:, None]
        mask = torch.zeros(reach.shape, dtype=cache.dtype, device=device).masked_fill(~reach, float("-inf"))
        slots = [s.slot for s in chunks]
        self._slots = None if slots == list(range(self._width)) else torch.tensor(slots, device=device)
        keys, values = (each[:, : self._width, :, :length] for each in (cache.keys, cache.values))  # [L, W, KV, T, d]
        self._by_rows = device.type == "cpu" and cache.dtype == torch.float32
        if self._by_rows:
            self._mask = mask.repeat_interleave(keys.shape[2], dim=0)[:, None]  # [W*KV, 1, T]
            keys, values = keys.flatten(1, 2).transpose(2, 3), values.flatten(1, 2)
        else:
            self._mask = mask[:, None, None]
        self._kv_heads = cache.keys.shape[2]
        self._keys, self._values = keys.unbind(), values.unbind()

    def __call__(self, layer: int, q: Tensor) -> Tensor:
        """[S, H, d] queries, a row a chunk, to as many attended values."""
        if self._slots is not None:
            q = q.new_zeros(self._width, *q.shape[1:]).index_copy(0, self._slots, q)
        keys, values = self._keys[layer], self._values[layer]
        if self._by_rows:
            grouped = q.reshape(self._width * self._kv_heads, -1, q.shape[-1])  # [W*KV, G, d]
            attended = attend_rows(grouped, keys, values, self._mask)
        else:
            grouped = q.reshape(self._width, self._kv_heads, -1, q.shape[-1])  # [W, KV, G, d]
            attended = grouped_attention(grouped, keys, values, self._mask)
        attended = attended.reshape(q.shape)  # a CUDA kernel may give the heads of a group apart in memory
        return attended if self._slots is None else attended[self._slots]


class Longer:
    """Chunks of one length and beginning in neighbouring slots, from `first` on."""

    def __init__(self, cache: SlotCache, first: SlotChunk, number: int) -> None:
        self.count, self._number = number * first.count, number
        self._kv_heads = cache.keys.shape[2]
        self._mask = causal_mask(first.count, first.end, cache.keys.device, cache.dtype)  # [count, T]
        self._grouped_mask: Tensor | None = None
        slots = slice(first.slot, first.slot + number)
        self._keys = cache.keys[:, slots, :, : first.end].unbind()  # of each layer [B, KV, T, d]
        self._values = cache.values[:, slots, :, : first.end].unbind()

    def __call__(self, layer: int, q: Tensor) -> Tensor:
        """[B*count, H, d] queries, chunk after chunk, to as many attended values."""
        if self._grouped_mask is None:
            self._grouped_mask = self._mask.repeat(q.shape[1] // self._kv_heads, 1)  # [G*count, T]
        rows = group_queries(q.view(self._number, -1, *q.shape[1:]), self._kv_heads)  # [B, KV, G*count, d]
        attended = grouped_attention(rows, self._keys[layer], self._values[layer], self._grouped_mask)
        return ungroup_queries(attended, self.count // self._number).flatten(0, 1)


def _alike(chunks: Sequence[SlotChunk]) -> Iterator[tuple[SlotChunk, int]]:
    """The first of each run that one `Longer` can take, and how many there are."""
    begun = 0
    for place, chunk in enumerate(chunks):
        first = chunks[begun]
        if chunk != SlotChunk(first.slot + place - begun, first.start, first.count):
            yield first, place - begun
            begun = place
    if chunks:
        yield chunks[begun], len(chunks) - begun
