"""The interface between the engine and the model: the engine calls a runner, never the model."""

from collections.abc import Sequence as Items
from typing import Protocol

from torch import Tensor

from pandagpt_core.engine.sequence import ScheduledChunk, Sequence


class Runner(Protocol):
    slots: int  # the largest number of sequences that run at once
    speculates: bool  # whether a step of some rows more takes less than as many steps, so that drafts can pay
    change: int  # rows that take as long as it takes to compute another number of rows than in the step before

    def computed(self, rows: int) -> int:
        """The number of rows that a step computes where it has so many, which are the first of them."""
        ...

    def run(self, chunks: Items[ScheduledChunk]) -> Tensor:
        """[R, V] float32 logits after the last position of each chunk that samples, and after each token of its draft,
        in the order of `chunks`."""
        ...

    def release(self, sequence: Sequence) -> None:
        """Free the sequence's cache; a sequence that never ran has none."""
        ...

    def store_blocks(self, sequence: Sequence, first: int, blocks: Items[int]) -> None:
        """Copy the sequence's blocks from its `first` on to these blocks of the prefix store."""
        ...

    def load_blocks(self, sequence: Sequence, blocks: Items[int]) -> None:
        """Begin the sequence with these blocks of the prefix store as its first positions."""
        ...
