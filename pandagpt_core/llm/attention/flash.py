"""Attention of one packed step by torch's flash kernel for sequences of unlike lengths: CUDA, 16-bit floats.

The kernel wants keys as one long row of tokens, [tokens, heads, d], of which each sequence has a part. A cache of
slots, [S, KV, T, d], is such a row of single heads as it lies when every key-value head of a slot counts as a sequence
of its own, whose queries are the heads of its group. So no key is copied and nothing masked; keys beyond a sequence's
end, and in a prompt those after a query, are not read at all.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from pandagpt_core.llm.attention.cache import CacheShape, SlotCache
from pandagpt_core.llm.attention.slots import SlotAttention, SlotChunk
from pandagpt_core.llm.config import LlamaConfig

log = logging.getLogger(__name__)
TOLERANCE = 0.05  # of values about 1, computed in bfloat16 in two ways; a key too many or too few costs ten times that
PROBE = (SlotChunk(0, 0, 33), SlotChunk(1, 40, 1), SlotChunk(2, 17, 9), SlotChunk(4, 62, 1))  # slot 3 is idle
PROBE_SLOTS, PROBE_LENGTH = 5, 64


@dataclass(frozen=True, slots=True)
class Packing:
    """Bounds of N sequences among the queries and among the keys, [N + 1] int32 each; their numbers of keys, [N] int32;
    and upper bounds of the queries and keys of one."""

    queries: Tensor
    keys: Tensor
    used: Tensor
    most_queries: int
    most_keys: int


Kernel = Callable[[Tensor, Tensor, Tensor, Packing], Tensor]
"""Queries [rows, G, d], keys and values [tokens, 1, d]: attended values [rows, G, d]. The last query of a sequence is
at its last key; none sees a later one."""
Judge = Callable[[Kernel, LlamaConfig, torch.dtype, torch.device], bool]


def flash(q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
    """torch's own. A single query sees every key, and the kernel is faster without a mask."""
    from torch.nn.attention.varlen import varlen_attn  # older versions of torch lack it

    attended = varlen_attn(
        q,
        k,
        v,
        packing.queries,
        packing.keys,
        packing.most_queries,
        packing.most_keys,
        window_size=(-1, -1) if packing.most_queries == 1 else (-1, 0),
        enable_gqa=True,
        seqused_k=packing.used,
    )
    assert isinstance(attended, Tensor)
    return attended


class FlashAttention:
    """An `Attend` for one forward pass over packed rows [N, ...]."""

    def __init__(
        self, cache: SlotCache, kernel: Kernel, rows: Tensor, packing: Packing, order: Tensor | None = None
    ) -> None:
        """rows: where the new keys go (`SlotCache.rows`). order: which [N*KV] head of a token each query row is."""
        self._cache, self._kernel, self._rows = cache, kernel, rows
        self._packing, self._order = packing, order

    @classmethod
    def over(cls, cache: SlotCache, chunks: Sequence[SlotChunk], kernel: Kernel) -> tuple[Self, Tensor]:
        """For chunks in the order of their slots; and the positions [N] of their tokens."""
        slots, ends = [s.slot for s in chunks], [s.end for s in chunks]
        assert slots == sorted(set(slots)), "chunks come in the order of their slots"
        device, (kv_heads, length) = cache.keys.device, cache.keys.shape[2:4]
        positions = torch.tensor([p for s in chunks for p in range(s.start, s.end)], device=device)
        tokens = torch.tensor([s.slot for s in chunks for _ in range(s.count)], device=device)
        counts = [s.count for s in chunks for _ in range(kv_heads)]
        begins = [(slot * kv_heads + head) * length for slot in slots for head in range(kv_heads)]
        packing = Packing(
            queries=torch.tensor([0, *counts]).cumsum(0).to(device, torch.int32),
            keys=torch.tensor([*begins, begins[-1] + length], device=device, dtype=torch.int32),
            used=torch.tensor([end for end in ends for _ in range(kv_heads)], device=device, dtype=torch.int32),
            most_queries=max(counts),
            most_keys=max(ends),
        )
        order = None if max(counts) == 1 else _by_heads(chunks, kv_heads).to(device)
        return cls(cache, kernel, cache.rows(tokens, positions), packing, order), positions

    @classmethod
    def decoding(cls, cache: SlotCache, positions: Tensor, length: int, kernel: Kernel) -> Self:
        """For one new token at a position, below `length`, in each of the leading B slots, all shapes fixed."""
        device, (kv_heads, longest) = positions.device, cache.keys.shape[2:4]
        places = torch.arange(len(positions) * kv_heads + 1, device=device, dtype=torch.int32)
        used = (positions + 1).to(torch.int32)[:, None].expand(-1, kv_heads).flatten()
        packing = Packing(places, places * longest, used, 1, length)
        return cls(cache, kernel, cache.rows(torch.arange(len(positions), device=device), positions), packing)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        cache, order = self._cache, self._order
        cache.write(layer, self._rows, k, v)
        queries = q.to(cache.dtype).reshape(len(q) * cache.keys.shape[2], -1, q.shape[-1])  # [N*KV, G, d]
        if order is not None:
            queries = queries[order]
        keys, values = (each[layer].view(-1, 1, q.shape[-1]) for each in (cache.keys, cache.values))
        attended = self._kernel(queries, keys, values, self._packing)
        if order is not None:
            attended = torch.empty_like(attended).index_copy_(0, order, attended)
        return attended.reshape(q.shape).to(q.dtype)


def _by_heads(chunks: Sequence[SlotChunk], kv_heads: int) -> Tensor:
    """Of rows that are [token, head] the order by chunk, head, token."""
    heads = torch.arange(kv_heads)[:, None]
    tokens = torch.split(torch.arange(sum(s.count for s in chunks)), [s.count for s in chunks])
    return torch.cat([(each * kv_heads + heads).flatten() for each in tokens])


def fitting(config: LlamaConfig, dtype: torch.dtype, device: torch.device, judge: Judge | None = None) -> Kernel | None:
    """torch's flash kernel, where it is there and computes a probe as the masks do; None where masks must do.

    The kernel is none of a CPU or for float32. The error for a missing part depends on torch's version and the device,
    so any error is a no. judge: compares it with the masks (`agrees`).
    """
    if device.type != "cuda" or dtype == torch.float32:
        return None
    try:
        fits = (judge or agrees)(flash, config, dtype, device)
    except Exception as error:  # noqa: BLE001  see above
        log.info("flash attention is not there", extra={"reason": type(error).__name__})
        return None
    if not fits:
        log.warning("flash attention gives other values than masks do; it is not used")
    return flash if fits else None


@torch.inference_mode()
def agrees(kernel: Kernel, config: LlamaConfig, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a kernel attends as `SlotAttention` does, in a step that reads and decodes, and in one that decodes."""
    config, chance = replace(config, layers=1), torch.Generator().manual_seed(0)

    def filled() -> SlotCache:
        shape = CacheShape(PROBE_SLOTS, PROBE_LENGTH, dtype)
        cache = SlotCache(config, shape, device)
        for tensor in (cache.keys, cache.values):
            tensor[0] = torch.randn(tensor.shape[1:], generator=torch.Generator().manual_seed(1))
        return cache

    def rows(count: int) -> list[Tensor]:
        heads = (config.heads, config.kv_heads, config.kv_heads)
        return [torch.randn(count, number, config.head_dim, generator=chance).to(device) for number in heads]

    ours, theirs = filled(), filled()
    new = rows(sum(chunk.count for chunk in PROBE))
    attend, _ = FlashAttention.over(ours, PROBE, kernel)
    parts = zip(PROBE, *(torch.split(each, [chunk.count for chunk in PROBE]) for each in new), strict=True)
    masked = torch.cat([SlotAttention(theirs, [chunk])(0, *part) for chunk, *part in parts])
    if not torch.allclose(attend(0, *new), masked, atol=TOLERANCE):
        return False
    positions, new = torch.tensor([50, 3, 63, 0], device=device), rows(4)
    singles = [SlotChunk(slot, int(position), 1) for slot, position in enumerate(positions)]
    attended = FlashAttention.decoding(ours, positions, PROBE_LENGTH, kernel)(0, *new)
    return torch.allclose(attended, SlotAttention(theirs, singles)(0, *new), atol=TOLERANCE)
