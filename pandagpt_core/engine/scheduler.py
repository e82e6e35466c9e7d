"""The scheduler: it chooses the running sequences and the positions of the next step.

Every step computes the next token of all decoding sequences; the rest of a step reads prompts, interactive ones first.
A waiting interactive sequence may preempt a batch sequence, once; and a batch sequence has its turn after a number of
interactive admissions. With `reserve` "longest" a sequence is admitted when the cache can hold its `max_length`, so a
running sequence never lacks cache. With "current" its present length counts, and when the cache is full the youngest
is preempted and computed again later. Its answer stays the same: tokens are a function of seed and position.
"""

import heapq
from collections.abc import Iterable, Iterator
from itertools import count

from pandagpt_core.engine.config import EngineSizes
from pandagpt_core.engine.kv_cache_manager import KVCacheManager
from pandagpt_core.engine.sequence import ScheduledChunk, Sequence
from pandagpt_core.types import Priority


class WaitingQueue:
    """Waiting sequences: interactive before batch, first come first served within each.

    A preempted sequence returns to its old place, since its arrival keeps its number. After `batch_turn` interactive
    admissions in a row, while batch sequences wait, the next admission is a batch sequence.
    """

    def __init__(self, batch_turn: int) -> None:
        self._batch_turn = batch_turn
        self._heaps: dict[Priority, list[tuple[int, Sequence]]] = {"interactive": [], "batch": []}
        self._waiting: dict[str, Sequence] = {}
        self._arrivals = count()
        self._passed_over = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, sequence_id: str) -> bool:
        return sequence_id in self._waiting

    def push(self, sequence: Sequence) -> None:
        if sequence.arrival is None:
            sequence.arrival = next(self._arrivals)
        self._waiting[sequence.id] = sequence
        heapq.heappush(self._heaps[sequence.priority], (sequence.arrival, sequence))

    def head(self) -> Sequence | None:
        """The next to be admitted; no other overtakes it, however small."""
        interactive, batch = self._heaps["interactive"], self._heaps["batch"]
        batch_turn = not interactive or (batch and self._passed_over >= self._batch_turn)
        heap = batch if batch_turn else interactive
        return heap[0][1] if heap else None

    def pop(self) -> Sequence:
        """Admit the head."""
        sequence = self.head()
        assert sequence is not None
        heapq.heappop(self._heaps[sequence.priority])
        del self._waiting[sequence.id]
        passes_over = sequence.priority == "interactive" and bool(self._heaps["batch"])
        self._passed_over = self._passed_over + 1 if passes_over else 0
        return sequence

    def remove(self, sequence_id: str) -> Sequence | None:
        sequence = self._waiting.pop(sequence_id, None)
        if sequence is not None:
            heap = self._heaps[sequence.priority]
            heap[:] = [entry for entry in heap if entry[1] is not sequence]
            heapq.heapify(heap)
        return sequence


class Scheduler:
    def __init__(self, sizes: EngineSizes, slots: int, cache: KVCacheManager) -> None:
        self._sizes, self._slots, self._cache = sizes, slots, cache
        self._queue = WaitingQueue(sizes.batch_turn)
        self.running: dict[str, Sequence] = {}  # in the order of admission
        self.num_preemptions = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def used_blocks(self) -> int:
        return sum(map(self._blocks, self.running.values()))

    def add(self, sequence: Sequence) -> None:
        self._queue.push(sequence)

    def __contains__(self, sequence_id: str) -> bool:
        return sequence_id in self.running or sequence_id in self._queue

    def remove(self, sequence_id: str) -> Sequence | None:
        """Forget a sequence, waiting or running, and free its cache."""
        sequence = self.running.pop(sequence_id, None)
        if sequence is None:
            return self._queue.remove(sequence_id)
        self._cache.free(sequence)
        return sequence

    def schedule(self) -> list[ScheduledChunk]:
        """The next token of each decoding sequence, and up to `prefill_chunk` positions of those still being read."""
        self._preempt_beyond_cache()
        self._preempt_for_interactive()
        budget, running = self._sizes.prefill_chunk, self.running.values()
        reading = {s.id: s for s in running if s.num_uncomputed_tokens > 1}
        decoding = [ScheduledChunk(s, s.num_computed_tokens, 1) for s in running if s.num_uncomputed_tokens == 1]
        batch = [s for s in reading.values() if s.priority == "batch"]
        share = budget // self._sizes.batch_share if batch else 0
        reads = [*self._read((s for s in reading.values() if s.priority == "interactive"), budget - share)]
        reads += self._admit(budget - share - _count(reads), reading, only_interactive=bool(batch))
        reads += self._read(batch, budget - _count(reads))
        reads += self._admit(budget - _count(reads), reading)
        return decoding + reads

    def _read(self, sequences: Iterable[Sequence], budget: int) -> Iterator[ScheduledChunk]:
        for sequence in sequences:
            if budget <= 0:
                return
            count = min(sequence.num_uncomputed_tokens, budget)
            budget -= count
            yield ScheduledChunk(sequence, sequence.num_computed_tokens, count)

    def _admit(
        self, budget: int, reading: dict[str, Sequence], *, only_interactive: bool = False
    ) -> list[ScheduledChunk]:
        chunks: list[ScheduledChunk] = []
        while budget > 0 and (head := self._queue.head()) is not None:
            skips_batch = only_interactive and head.priority == "batch"
            if skips_batch or self._cache.should_wait_for_prefix(head, reading.values()) or not self._fits(head):
                break
            self._queue.pop()
            self.running[head.id] = head
            self._cache.allocate(head)
            chunks += self._read([head], budget)
            budget -= chunks[-1].count
            reading[head.id] = head
        return chunks

    def _blocks(self, sequence: Sequence) -> int:
        return self._sizes.blocks_for(sequence.max_length if self._sizes.reserve == "longest" else sequence.length)

    def _fits(self, sequence: Sequence, without: Iterable[Sequence] = ()) -> bool:
        left = [s for s in self.running.values() if s not in without]
        # With "current", each running sequence will soon need one block more.
        room = len(left) if self._sizes.reserve == "current" else 0
        blocks = sum(map(self._blocks, left)) + self._blocks(sequence) + room
        return len(left) < self._slots and (not left or blocks <= self._sizes.kv_blocks)

    def _preempt_for_interactive(self) -> None:
        """Preempt as few batch sequences as make room for the interactive head; none if that is not enough.

        A batch sequence is preempted so once at most: it ends, even if others arrive.
        """
        head = self._queue.head()
        if head is None or head.priority == "batch" or self._fits(head):
            return
        youngest_first = reversed(self.running.values())
        candidates = [s for s in youngest_first if s.priority == "batch" and not s.preempted_for_priority]
        enough = next((n for n in range(1, len(candidates) + 1) if self._fits(head, candidates[:n])), 0)
        for sequence in candidates[:enough]:
            sequence.preempted_for_priority = True
            self._preempt(sequence)

    def _preempt_beyond_cache(self) -> None:
        """While running sequences exceed the cache, preempt the youngest, batch ones first, but never the last."""
        while len(self.running) > 1 and self.used_blocks > self._sizes.kv_blocks:
            youngest = list(reversed(self.running.values()))
            self._preempt(next((s for s in youngest if s.priority == "batch"), youngest[0]))

    def _preempt(self, sequence: Sequence) -> None:
        del self.running[sequence.id]
        self._cache.free(sequence)
        self._queue.push(sequence)
        self.num_preemptions += 1


def _count(chunks: Iterable[ScheduledChunk]) -> int:
    return sum(chunk.count for chunk in chunks)
