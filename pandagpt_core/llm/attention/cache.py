"""Keys and values of running sequences: one slot a sequence, each slot long enough for the whole context.

Slots rather than blocks, because a decode step then reads a plain view of the leading slots: on a CPU gathering
blocks costs as much as the attention itself. On a CPU a slot takes memory as far as its sequence has come, and none
after its end; slots in use are kept together at the front, so a view over them reads little that is not asked for.
"""

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


def token_bytes(config: LlamaConfig, dtype: torch.dtype) -> int:
    """Bytes of cache that one token takes."""
    return 2 * config.layers * config.kv_heads * config.head_dim * dtype.itemsize
