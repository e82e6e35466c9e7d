"""Keys and values of running sequences: one slot a sequence, each slot long enough for the whole context.

Slots rather than blocks, because a decode step then reads a plain view of the leading slots: on a CPU gathering
blocks costs as much as the attention itself. Memory of a slot that was never written is never committed (CPU), and
slots in use are kept together at the front, so a view over them reads little that is not asked for.
"""

import contextlib
import math
import mmap
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from pandagpt_core.llm.config import LlamaConfig

# Private: shared memory is counted and limited apart. Windows has no such flags and needs none.
ANONYMOUS = MappingProxyType({"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {})


@dataclass(frozen=True, slots=True)
class CacheShape:
    """How many sequences of how many tokens, and in what element type."""

    slots: int
    length: int
    dtype: torch.dtype = torch.float32


class SlotCache:
    """`keys` and `values` are [L, S, KV, T, d]. What lies beyond a slot's length is finite, never uninitialised:
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


def token_bytes(config: LlamaConfig, dtype: torch.dtype) -> int:
    """Bytes of cache that one token takes."""
    return 2 * config.layers * config.kv_heads * config.head_dim * dtype.itemsize


def zeros(sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros; on a CPU from the system's zero pages, which take no memory before they are written."""
    if device.type != "cpu" or 0 in sizes:
        return torch.zeros(sizes, dtype=dtype, device=device)
    # numpy's zeros are large pages (2 MiB): a token in each of L layers and its heads would take one of them each.
    memory = mmap.mmap(-1, math.prod(sizes) * dtype.itemsize, **ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8).view(dtype).view(sizes)
