"""The runner protocol: the engine knows it, not the model."""

from collections.abc import Sequence as Items
from typing import Protocol

from torch import Tensor

from pandagpt_core.engine.sequence import Sequence, Span


class Runner(Protocol):
    slots: int  # sequences it can hold at once

    def run(self, spans: Items[Span]) -> Tensor:
        """[R, V] float32 logits after the last position of each span that samples, in the order of `spans`."""
        ...

    def release(self, sequence: Sequence) -> None:
        """Free what the sequence holds; one that never ran holds nothing."""
        ...

    def keep(self, sequence: Sequence, first: int, places: Items[int]) -> None:
        """Copy the sequence's blocks from its `first` on to these places of the prefix store."""
        ...

    def recall(self, sequence: Sequence, places: Items[int]) -> None:
        """Begin the sequence with the blocks at these places as its first positions."""
        ...
