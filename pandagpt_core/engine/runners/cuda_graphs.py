"""Decode steps as recorded graphs: one launch a step instead of hundreds, for a CUDA device.

A graph replays the same kernels on the same memory, so it is recorded once for a number of rows and a length of cache,
both rounded up to a bucket. Rows that pad a bucket write into slots that nobody holds.
"""

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass

import torch
from torch import Tensor

from pandagpt_core import compiled
from pandagpt_core.llm.attention.base import Attend, grouped_attention
from pandagpt_core.llm.attention.cache import SlotCache
from pandagpt_core.llm.attention.flash import FlashAttention, Kernel
from pandagpt_core.llm.llama import LayerBias
from pandagpt_core.llm.torch_backend import TorchLlama

SHORTEST = 256

Compute = Callable[[], Tensor]
Record = Callable[[Compute], tuple[Callable[[], None], Tensor]]
"""Record a computation that reads and writes fixed memory: how to run it again, and where its result then lies."""


@dataclass(frozen=True, slots=True)
class Recorded:
    embeds: Tensor  # [B, D], written before each replay
    positions: Tensor  # [B]
    replay: Callable[[], None]
    logits: Tensor  # [B, V], valid until the next replay
    compute: Compute  # the recorded function: it holds the memory that a replay reads, which a graph does not


class BucketAttention:
    """An `Attend` for one new token in each of the leading B slots, all its shapes fixed."""

    def __init__(self, cache: SlotCache, positions: Tensor, length: int) -> None:
        self._cache, self._length = cache, length
        self._rows = cache.rows(torch.arange(len(positions), device=positions.device), positions)
        beyond = torch.arange(length, device=positions.device) > positions[:, None]
        mask = torch.zeros(beyond.shape, dtype=cache.dtype, device=positions.device)
        self._mask = mask.masked_fill(beyond, float("-inf"))[:, None, None]  # [B, 1, 1, T]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        self._cache.write(layer, self._rows, k, v)
        keys = self._cache.keys[layer, : len(q), :, : self._length]  # [B, KV, T, d]
        values = self._cache.values[layer, : len(q), :, : self._length]
        grouped = q.to(self._cache.dtype).view(len(q), keys.shape[1], -1, q.shape[-1])  # [B, KV, G, d]
        return grouped_attention(grouped, keys, values, self._mask).flatten(1, 2).to(q.dtype)


class DecodeGraphs:
    """Row n of every call is the sequence in slot n. Attention is by masks, or by `kernel` where there is one.

    shortest: positions of the smallest length bucket; the next are twice as long each.
    """

    def __init__(
        self,
        llm: TorchLlama,
        cache: SlotCache,
        record: Record,
        kernel: Kernel | None = None,
        shortest: int = SHORTEST,
    ) -> None:
        self._llm, self._cache, self._record, self._kernel = llm, cache, record, kernel
        self._shortest = shortest
        self._graphs: dict[tuple[int, int, bool], Recorded] = {}

    def run(self, embeds: Tensor, positions: Items[int], biases: Tensor | None = None) -> Tensor:
        """[N, D] embeddings of the sequences' next tokens, at these positions, to [N, V] logits.

        biases: [slots, L, D] of the layers, the same tensor at every call; None where no sequence has one, which has
        graphs of its own.
        """
        slots, longest = self._cache.keys.shape[1], self._cache.keys.shape[3]
        key = bucket(len(positions), 1, slots), bucket(max(positions) + 1, self._shortest, longest), biases is not None
        if key not in self._graphs:
            self._graphs[key] = self._recorded(key[0], key[1], biases)
        graph = self._graphs[key]
        count, padding = len(positions), key[0] - len(positions)
        graph.embeds[:count] = embeds
        graph.positions.copy_(torch.tensor([*positions, *[0] * padding]))
        graph.replay()
        return graph.logits[:count].clone()

    def _recorded(self, rows: int, length: int, biases: Tensor | None) -> Recorded:
        device = self._cache.keys.device
        embeds = torch.zeros(rows, self._llm.config.width, device=device)
        positions = torch.zeros(rows, dtype=torch.long, device=device)
        bias = None if biases is None else LayerBias(biases, torch.arange(rows, device=device))

        def compute() -> Tensor:
            return self._llm.logits(self._llm.hidden(embeds, positions, self._attention(positions, length), bias))

        # Recording runs the computation: at position 0 it would overwrite what running sequences hold there.
        held = [tensor[:, :rows, :, 0].clone() for tensor in (self._cache.keys, self._cache.values)]
        with compiled.recorded():
            replay, logits = self._record(compute)
        for tensor, before in zip((self._cache.keys, self._cache.values), held, strict=True):
            tensor[:, :rows, :, 0] = before
        return Recorded(embeds, positions, replay, logits, compute)

    def _attention(self, positions: Tensor, length: int) -> Attend:
        if self._kernel is None:
            return BucketAttention(self._cache, positions, length)
        return FlashAttention.decoding(self._cache, positions, length, self._kernel)


def bucket(count: int, smallest: int, largest: int) -> int:
    """The smallest bucket that holds `count`: `smallest` times a power of two, or `largest`."""
    size = smallest
    while size < count:
        size *= 2
    return min(size, largest)


def recorder(device: torch.device) -> Record:
    """Records on a CUDA device, which need not be the first."""

    def record(compute: Compute) -> tuple[Callable[[], None], Tensor]:
        with torch.cuda.device(device):
            return record_cuda(compute)

    return record


def record_cuda(compute: Compute) -> tuple[Callable[[], None], Tensor]:
    """Record on the current CUDA device, after a few runs that settle libraries and allocations."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch gives it no annotations
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            compute()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # The work of other threads on the device (media are encoded beside the loop) is no part of it, and no error.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        logits = compute()
    return graph.replay, logits
