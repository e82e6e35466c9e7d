"""A step computed by a model that OpenVINO compiled: one call for prompts and decoding sequences together.

The protocol is the torch runner's, and so are slots: each is a run of blocks long enough for the whole context, so a
sequence's table of blocks follows from its slot. Nothing moves when one ends, since attention reads by the tables.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Items

import torch
from torch import Tensor

from pandagpt_core.engine.config import EngineSizes
from pandagpt_core.engine.runners.packing import chunk_biases, embed_chunks
from pandagpt_core.engine.sequence import ScheduledChunk, Sequence
from pandagpt_core.llm.attention.pages import give_back, zeros
from pandagpt_core.llm.language_model import LanguageModel
from pandagpt_core.llm.openvino.compiled import BlockChunk, OpenVinoLlama
from pandagpt_core.llm.openvino.row_numbers import CHANGE, padded


class OpenVinoRunner:
    speculates = True
    change = CHANGE

    def __init__(self, llm: LanguageModel, sizes: EngineSizes) -> None:
        assert isinstance(llm, OpenVinoLlama), "a runner computes what its library serves"
        self._llm, self.slots, self._size = llm, sizes.max_running, sizes.block_size
        block = llm.block
        self._each = -(-sizes.max_model_len // block)  # blocks of a slot
        self._session = llm.session(self.slots * self._each)
        self._free = list(reversed(range(self.slots)))
        self._slots: dict[Sequence, int] = {}
        layers, _, kv_heads, _, dim = self._session.keys.shape
        kept = (sizes.prefix_blocks, sizes.block_size, layers, kv_heads, dim)  # tokens first: copied token by token
        self._kept = [zeros(kept, llm.cache_dtype, torch.device("cpu")) for _ in range(2)]

    @torch.inference_mode()
    def run(self, chunks: Items[ScheduledChunk]) -> Tensor:
        pieces = [piece for chunk in chunks for piece in self._pieces(chunk)]
        bias = chunk_biases(self._llm, chunks)
        rows = None if bias is None else bias.rows[bias.index]  # [N, L, D]
        return self._session.run(embed_chunks(self._llm, chunks), pieces, rows)

    def computed(self, rows: int) -> int:
        return padded(rows)

    def release(self, sequence: Sequence) -> None:
        slot = self._slots.pop(sequence, None)
        if slot is None:
            return
        own = slice(slot * self._each, (slot + 1) * self._each)
        finite = sequence.logits_finite and sequence.draft_finite
        for layer in (layer for cache in self._caches() for layer in cache):
            if not finite:  # the next sequence in the slot multiplies positions beyond its end by zero
                layer[own] = 0
            give_back(layer[own])
        self._free.append(slot)

    def store_blocks(self, sequence: Sequence, first: int, blocks: Items[int]) -> None:
        own, offsets = self._where(sequence, first, len(blocks))
        for kept, live in zip(self._kept, self._caches(), strict=True):
            kept[list(blocks)] = live[:, own, :, offsets].view(len(blocks), *kept.shape[1:])

    def load_blocks(self, sequence: Sequence, blocks: Items[int]) -> None:
        own, offsets = self._where(sequence, 0, len(blocks))
        for kept, live in zip(self._kept, self._caches(), strict=True):
            live[:, own, :, offsets] = kept[list(blocks)].flatten(0, 1)

    def _pieces(self, chunk: ScheduledChunk) -> Iterator[BlockChunk]:
        """The chunk's known positions, and each token of its draft as a piece of its own.

        Keys and values of a step are written before any of them is read. So a drafted token attends as it would in a
        step of its own, by the kernel for single tokens, and its logits are the same to the last bit.
        """
        blocks = self._blocks(chunk.sequence)
        yield BlockChunk(chunk.start, chunk.count, blocks, chunk.samples)
        yield from (BlockChunk(chunk.end + ahead, 1, blocks) for ahead in range(len(chunk.draft)))

    def _blocks(self, sequence: Sequence) -> range:
        """All blocks of the sequence's slot, which it gets at its first step."""
        if sequence not in self._slots:
            self._slots[sequence] = self._free.pop()
        first = self._slots[sequence] * self._each
        return range(first, first + self._each)

    def _where(self, sequence: Sequence, first: int, count: int) -> tuple[Tensor, Tensor]:
        """The block and the offset in it of each token of `count` of the engine's blocks, from its `first` on."""
        positions = torch.arange(first * self._size, (first + count) * self._size)
        return self._blocks(sequence).start + positions // self._session.block, positions % self._session.block

    def _caches(self) -> tuple[Tensor, Tensor]:
        return self._session.keys, self._session.values
