"""Keys and values of running sequences: one slot a sequence, each slot long enough for the whole context.

Slots rather than blocks, because a decode step then reads a plain view of the leading slots: on a CPU gathering
blocks costs as much as the attention itself. On a CPU a slot takes memory as far as its sequence has come, and none
after its end; slots in use are kept together at the front, so a view over them reads little that is not asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pandagpt_core.llm.attention.pages import give_back, zeros
from pandagpt_core.llm.config import LlamaConfig


@dataclass(frozen=True, slots=True)
class CacheShape:
    """Numbers of slots and of tokens in each, and the element type."""

    slots: int
    length: int
    dtype: torch.dtype = torch.float32


class SlotCache:
    """`keys` and `values` are [L, S, KV, T, d]. The values beyond a slot's length are finite, never uninitialised:
    attention multiplies it by zero, and zero times NaN is NaN."""

    def __init__(self, config: LlamaConfig, shape: CacheShape, device: torch.device) -> None:
        sizes = (config.layers, shape.slots, config.kv_heads, shape.length, config.head_dim)
        self.keys, self.values = zeros(sizes, shape.dtype, device), zeros(sizes, shape.dtype, device)
        self.dtype = shape.dtype
        # Each layer as rows of one head at one position, so that a write is one copy of rows.
        self._rows = [each.view(config.layers, -1, config.head_dim).unbind() for each in (self.keys, self.values)]

    def rows(self, slots: Tensor, positions: Tensor) -> Tensor:
        """[N*KV]: where `write` puts the heads of tokens at [N] slots and positions, in any layer."""
        kv_heads, length = self.keys.shape[2:4]
        heads = torch.arange(kv_heads, device=slots.device)
        return ((slots[:, None] * kv_heads + heads) * length + positions[:, None]).flatten()

    def write(self, layer: int, rows: Tensor, k: Tensor, v: Tensor) -> None:
        """Put k and v [N, KV, d] at the rows that `rows` names."""
        for held, new in zip(self._rows, (k, v), strict=True):
            held[layer].index_copy_(0, rows, new.to(self.dtype).reshape(-1, new.shape[-1]))

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one slot over another's."""
        for tensor in (self.keys, self.values):
            tensor[:, target, :, :length] = tensor[:, source, :, :length]

    def wipe(self, slot: int, length: int) -> None:
        """Zero the first `length` tokens: after a sequence whose values may not be finite."""
        for tensor in (self.keys, self.values):
            tensor[:, slot, :, :length] = 0

    def give_back(self, slot: int) -> None:
        """The memory of a slot that nobody holds goes back to the system; on a device nothing happens."""
        for tensor in (self.keys, self.values):
            for layer in tensor:
                give_back(layer[slot])


class BlockStore:
    """Keys and values of kept prefixes, in blocks beside the slots: copied out once, and in when a prefix recurs.

    Copied rather than shared: a decode step then still reads plain views of slots, and a copy of 500 tokens costs what
    reading one or two of them with the model costs. `keys` and `values` are [P, L, KV, B, d]: P places for blocks of B
    tokens.
    """

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


def token_bytes(config: LlamaConfig, dtype: torch.dtype) -> int:
    """Bytes of cache that one token takes."""
    return 2 * config.layers * config.kv_heads * config.head_dim * dtype.itemsize
