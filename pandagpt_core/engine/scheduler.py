"""Which sequences run, and which positions the next step computes.

First come, first served within a priority; nobody overtakes the head of the queue, however small. A sequence is
admitted when the cache can hold the longest it may become, so what runs never runs out of cache.
"""

import heapq
from itertools import count

from pandagpt_core.engine.config import EngineSizes
from pandagpt_core.engine.sequence import Sequence, Span
from pandagpt_core.types import Priority

RANK: dict[Priority, int] = {"interactive": 0, "batch": 1}


class Scheduler:
    def __init__(self, sizes: EngineSizes, slots: int) -> None:
        self._sizes = sizes
        self._slots = slots
        self._arrivals = count()
        self._queue: list[tuple[int, int, Sequence]] = []
        self.running: dict[str, Sequence] = {}  # in the order of admission
        self.used_blocks = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def add(self, sequence: Sequence) -> None:
        heapq.heappush(self._queue, (RANK[sequence.priority], next(self._arrivals), sequence))

    def __contains__(self, sequence_id: str) -> bool:
        return sequence_id in self.running or any(s.id == sequence_id for _, _, s in self._queue)

    def remove(self, sequence_id: str) -> Sequence | None:
        """Forget a sequence, waiting or running; the running one, whose place is now free, is returned."""
        sequence = self.running.pop(sequence_id, None)
        if sequence is not None:
            self.used_blocks -= self._sizes.blocks_for(sequence.longest)
            return sequence
        self._queue = [entry for entry in self._queue if entry[2].id != sequence_id]
        heapq.heapify(self._queue)
        return None

    def schedule(self) -> list[Span]:
        """The next token of every decoding sequence, and up to `prefill_chunk` positions of those still being read."""
        spans, budget = [], self._sizes.prefill_chunk
        for sequence in self.running.values():
            span = self._span(sequence, budget)
            if span is not None:
                spans.append(span)
                budget -= span.count if span.count > 1 else 0
        while budget > 0 and self._queue and self._fits(self._queue[0][2]):
            sequence = heapq.heappop(self._queue)[2]
            self._admit(sequence)
            span = self._span(sequence, budget)
            assert span is not None
            spans.append(span)
            budget -= span.count
        return spans

    def _span(self, sequence: Sequence, budget: int) -> Span | None:
        left = sequence.length - sequence.computed
        chunk = left if left == 1 else min(left, budget)
        return Span(sequence, sequence.computed, chunk) if chunk > 0 else None

    def _fits(self, sequence: Sequence) -> bool:
        blocks = self._sizes.blocks_for(sequence.longest)
        return len(self.running) < self._slots and self.used_blocks + blocks <= self._sizes.kv_blocks

    def _admit(self, sequence: Sequence) -> None:
        self.running[sequence.id] = sequence
        self.used_blocks += self._sizes.blocks_for(sequence.longest)
