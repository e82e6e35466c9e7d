"""A step computed by torch: one step's chunks packed in one forward pass."""

from collections.abc import Iterable
from collections.abc import Sequence as Items

import torch
from torch import Tensor

from pandagpt_core.engine.config import EngineSizes
from pandagpt_core.engine.runners.cuda_graphs import SHORTEST, DecodeGraphs, Record, recorder
from pandagpt_core.engine.runners.packing import embed_chunks
from pandagpt_core.engine.sequence import ScheduledChunk, Sequence
from pandagpt_core.llm.attention.base import Attend, new_shapes
from pandagpt_core.llm.attention.cache import BlockStore, CacheShape, SlotCache
from pandagpt_core.llm.attention.flash import FlashAttention, Kernel, fitting
from pandagpt_core.llm.attention.slots import SlotAttention, SlotChunk
from pandagpt_core.llm.llama import LayerBias
from pandagpt_core.llm.torch_backend import TorchLlama


class TorchRunner:
    """Torch on a CPU or a CUDA device, keys and values in slots; steps that only decode are graphs where those help.

    `record` records a graph; without one every step runs eagerly, as on a CPU. `kernel` attends; without one that
    which fits the device does, or masks. `shortest`: positions of the smallest graph.
    """

    change = 0

    def __init__(
        self,
        llm: TorchLlama,
        sizes: EngineSizes,
        record: Record | None = None,
        kernel: Kernel | None = None,
        shortest: int = SHORTEST,
    ) -> None:
        self._llm = llm
        # Elsewhere steps that only decode are recorded graphs. In fewer bits than fp32 the kernel for several rows of a
        # sequence gives other last bits than the one for single rows, which rounding makes other words of.
        self.speculates = llm.device.type == "cpu" and llm.precision == "fp32"
        self.slots = slot_count(sizes, llm.device)
        self._cache = SlotCache(llm.config, CacheShape(self.slots, sizes.max_model_len, llm.cache_dtype), llm.device)
        self._store = BlockStore(self._cache, sizes.prefix_blocks, sizes.block_size)
        record = record or (recorder(llm.device) if llm.device.type == "cuda" else None)
        self._kernel = kernel or fitting(llm.config, llm.cache_dtype, llm.device)
        self._graphs = DecodeGraphs(llm, self._cache, record, self._kernel, shortest) if record else None
        self._biases = SlotBiases(llm, self.slots)
        self._holders: list[Sequence] = []  # the sequence in each slot: the slots in use are always the first ones

    @torch.inference_mode()
    def run(self, chunks: Items[ScheduledChunk]) -> Tensor:
        self._hold(chunk.sequence for chunk in chunks)
        packed = sorted(chunks, key=self._packing_order)
        if self._graphs is not None and self._only_decodes(packed):
            biases = self._biases.rows if self._any_bias(packed) else None
            logits = self._graphs.run(embed_chunks(self._llm, packed), [chunk.start for chunk in packed], biases)
            return logits if packed == list(chunks) else logits[self._last_rows(chunks, packed)]
        attend, positions = self._attention([SlotChunk(self._slot(s.sequence), s.start, s.rows) for s in packed])
        bias = self._layer_bias(packed)
        with new_shapes(self._llm.device):
            hidden = self._llm.hidden(embed_chunks(self._llm, packed), positions, attend, bias)
        return self._llm.logits(hidden[self._last_rows(chunks, packed)])

    def computed(self, rows: int) -> int:
        return rows

    def release(self, sequence: Sequence) -> None:
        """Empty its slot, then let the last slot's sequence take that place, so that no hole is left.

        The last slot's memory goes back to the system.
        """
        if sequence not in self._holders:
            return
        slot = self._slot(sequence)
        if not (sequence.logits_finite and sequence.draft_finite):
            self._cache.wipe(slot, min(sequence.max_length, self._cache.keys.shape[3]))
        last = self._holders.pop()
        if last is not sequence:
            self._cache.move(len(self._holders), slot, last.num_computed_tokens)
            self._biases.move(len(self._holders), slot)
            self._holders[slot] = last
        self._cache.give_back(len(self._holders))

    def store_blocks(self, sequence: Sequence, first: int, blocks: Items[int]) -> None:
        self._store.save(self._slot(sequence), first, blocks)

    def load_blocks(self, sequence: Sequence, blocks: Items[int]) -> None:
        self._hold([sequence])
        self._store.load(self._slot(sequence), blocks)

    def _hold(self, sequences: Iterable[Sequence]) -> None:
        for sequence in sequences:
            if sequence not in self._holders:
                assert len(self._holders) < self.slots
                self._biases.put(len(self._holders), sequence.inputs.layer_bias)
                self._holders.append(sequence)

    def _packing_order(self, chunk: ScheduledChunk) -> tuple[bool, int]:
        """The order of packing: single tokens first where masks attend, else by slot alone."""
        return self._kernel is None and chunk.rows > 1, self._slot(chunk.sequence)

    def _attention(self, stretches: Items[SlotChunk]) -> tuple[Attend, Tensor]:
        """And the positions of the packed tokens."""
        if self._kernel is not None:
            return FlashAttention.over(self._cache, stretches, self._kernel)
        masked = SlotAttention(self._cache, stretches)
        return masked, masked.positions

    def _only_decodes(self, packed: Items[ScheduledChunk]) -> bool:
        """Whether every sequence in a slot computes one token that is sampled from."""
        return len(packed) == len(self._holders) and all(chunk.rows == 1 and chunk.samples for chunk in packed)

    def _any_bias(self, packed: Items[ScheduledChunk]) -> bool:
        return any(chunk.sequence.inputs.layer_bias is not None for chunk in packed)

    def _layer_bias(self, packed: Items[ScheduledChunk]) -> LayerBias | None:
        """Of the packed tokens, zeros where a sequence has none."""
        if not self._any_bias(packed):
            return None
        return self._biases.of([slot for c in packed for slot in [self._slot(c.sequence)] * c.rows])

    def _slot(self, sequence: Sequence) -> int:
        return self._holders.index(sequence)

    def _last_rows(self, chunks: Items[ScheduledChunk], packed: Items[ScheduledChunk]) -> Tensor:
        ends, row = {}, 0
        for chunk in packed:
            row += chunk.rows
            ends[chunk.sequence.id] = row
        asked = [row for s in chunks for row in range(ends[s.sequence.id] - s.asked, ends[s.sequence.id])]
        return torch.tensor(asked, dtype=torch.long, device=self._llm.device)


def slot_count(sizes: EngineSizes, device: torch.device) -> int:
    """As many slots as sequences on a CPU, where unwritten memory is free; elsewhere those the budget holds whole."""
    if device.type == "cpu":
        return sizes.max_running
    return min(sizes.max_running, max(1, sizes.kv_blocks * sizes.block_size // sizes.max_model_len))


class SlotBiases:
    """The layers' biases of the sequences in slots, in one tensor that stays where it is, so that graphs can read it.

    `rows` [slots, L, D], zeros where a sequence has no bias. Without memory until the first that has one.
    """

    def __init__(self, llm: TorchLlama, slots: int) -> None:
        self._shape, self._device = (slots, llm.config.layers, llm.config.width), llm.device
        self.rows: Tensor | None = None

    @torch.inference_mode()  # the rows may have been made in it; such rows can be changed in it alone
    def put(self, slot: int, bias: Tensor | None) -> None:
        """The bias [L, D] of the sequence that begins in a slot."""
        if self.rows is None and bias is not None:
            self.rows = torch.zeros(self._shape, device=self._device)
        if self.rows is not None:
            self.rows[slot] = 0.0 if bias is None else bias.float()

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """A sequence goes to another slot."""
        if self.rows is not None:
            self.rows[target] = self.rows[source]

    def of(self, slots: list[int]) -> LayerBias | None:
        """For packed tokens, each of the sequence in its slot."""
        return None if self.rows is None else LayerBias(self.rows, torch.tensor(slots, device=self._device))
