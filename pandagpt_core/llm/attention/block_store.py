"""Keys and values of kept prefixes, in blocks beside the slots: copied out when a prompt was read, in when it recurs.

Copied rather than shared: a decode step then still reads plain views of slots, and a copy of 500 tokens costs what
reading one or two of them with the model costs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pandagpt_core.llm.attention.cache import SlotCache
from pandagpt_core.llm.attention.pages import zeros


class BlockStore:
    """`keys` and `values` are [P, L, KV, B, d]: P places for blocks of B tokens."""

    def __init__(self, cache: SlotCache, places: int, block_size: int) -> None:
        layers, _, kv_heads, _, dim = cache.keys.shape
        sizes = (places, layers, kv_heads, block_size, dim)
        device = cache.keys.device
        self._cache, self._size = cache, block_size
        self.keys, self.values = zeros(sizes, cache.dtype, device), zeros(sizes, cache.dtype, device)

    def save(self, slot: int, first: int, places: Sequence[int]) -> None:
        """Copy the slot's blocks from its `first` on to these places."""
        for kept, live in self._both():
            span = live[:, slot, :, first * self._size : (first + len(places)) * self._size]  # [L, KV, n*B, d]
            blocks = span.view(*span.shape[:2], len(places), self._size, span.shape[-1])
            kept[self._index(places)] = blocks.permute(2, 0, 1, 3, 4)

    def load(self, slot: int, places: Sequence[int]) -> None:
        """Copy the blocks at these places to the slot's beginning."""
        for kept, live in self._both():
            blocks = kept[self._index(places)].permute(1, 2, 0, 3, 4).flatten(2, 3)
            live[:, slot, :, : len(places) * self._size] = blocks

    def _both(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        return (self.keys, self._cache.keys), (self.values, self._cache.values)

    def _index(self, places: Sequence[int]) -> Tensor:
        return torch.tensor(places, device=self.keys.device)
