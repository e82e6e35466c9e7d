"""Which sequences run, and which positions the next step computes.

Decoding sequences go on every step; the rest of a step reads prompts, the interactive ones first. A batch sequence
gives up its place to a waiting interactive one, once; and its turn comes whatever the others do (`queue`). With
`reserve` "longest" a sequence is admitted when the cache can hold the longest it may become, so what runs never runs
out of cache; with "current" what it holds now counts, and when memory is short the youngest is put out and read again
later. Its answer does not change by that: tokens are a function of seed and position.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from pandagpt_core.engine.config import EngineSizes
from pandagpt_core.engine.queue import Queue
from pandagpt_core.engine.sequence import Sequence, Span


class Places(Protocol):
    """Where sequences have their keys and values while they run."""

    def begin(self, sequence: Sequence) -> None:
        """Make a place; set `computed` to what need not be computed."""
        ...

    def end(self, sequence: Sequence) -> None:
        """Give the place up; nothing is computed any more."""
        ...

    def soon(self, sequence: Sequence, reading: Iterable[Sequence]) -> bool:
        """Whether what others are reading now would spare this one enough to wait for it."""
        ...


class Scheduler:
    def __init__(self, sizes: EngineSizes, slots: int, places: Places) -> None:
        self._sizes, self._slots, self._places = sizes, slots, places
        self._queue = Queue(sizes.batch_turn)
        self.running: dict[str, Sequence] = {}  # in the order of admission
        self.put_out = 0

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
        """Forget a sequence, waiting or running, and give its place up."""
        sequence = self.running.pop(sequence_id, None)
        if sequence is None:
            return self._queue.remove(sequence_id)
        self._places.end(sequence)
        return sequence

    def schedule(self) -> list[Span]:
        """The next token of every decoding sequence, and up to `prefill_chunk` positions of those still being read."""
        self._shrink()
        self._displace()
        budget = self._sizes.prefill_chunk
        reading = {s.id: s for s in self.running.values() if s.unread > 1}
        spans = [Span(s, s.computed, 1) for s in self.running.values() if s.unread == 1]  # decoding, of either priority
        batch = [s for s in reading.values() if s.priority == "batch"]
        share = budget // self._sizes.batch_share if batch else 0
        reads = [*self._read((s for s in reading.values() if s.priority == "interactive"), budget - share)]
        reads += self._admit(budget - share - _count(reads), reading, only_interactive=bool(batch))
        reads += self._read(batch, budget - _count(reads))
        reads += self._admit(budget - _count(reads), reading)
        return spans + reads

    def _read(self, sequences: Iterable[Sequence], budget: int) -> Iterator[Span]:
        for sequence in sequences:
            if budget <= 0:
                return
            span = Span(sequence, sequence.computed, min(sequence.unread, budget))
            budget -= span.count
            yield span

    def _admit(self, budget: int, reading: dict[str, Sequence], *, only_interactive: bool = False) -> list[Span]:
        spans: list[Span] = []
        while budget > 0 and (head := self._queue.head()) is not None:
            if (only_interactive and head.priority == "batch") or self._places.soon(head, reading.values()):
                break
            if not self._fits(head):
                break
            self._queue.pop()
            self.running[head.id] = head
            self._places.begin(head)
            spans += self._read([head], budget)
            budget -= spans[-1].count
            reading[head.id] = head
        return spans

    def _blocks(self, sequence: Sequence) -> int:
        return self._sizes.blocks_for(sequence.longest if self._sizes.reserve == "longest" else sequence.length)

    def _fits(self, sequence: Sequence, without: Iterable[Sequence] = ()) -> bool:
        left = [s for s in self.running.values() if s not in without]
        # What holds only what it needs now will need more soon: a block for each.
        room = len(left) if self._sizes.reserve == "current" else 0
        blocks = sum(map(self._blocks, left)) + self._blocks(sequence) + room
        return len(left) < self._slots and (not left or blocks <= self._sizes.kv_blocks)

    def _displace(self) -> None:
        """Put out as few batch sequences as make room for the interactive head; none if that is not enough.

        A batch sequence is displaced once at most, so that it comes to its end whatever arrives.
        """
        head = self._queue.head()
        if head is None or head.priority == "batch" or self._fits(head):
            return
        candidates = [s for s in reversed(self.running.values()) if s.priority == "batch" and not s.displaced]
        enough = next((n for n in range(1, len(candidates) + 1) if self._fits(head, candidates[:n])), 0)
        for sequence in candidates[:enough]:
            sequence.displaced = True
            self._put_out(sequence)

    def _shrink(self) -> None:
        """While what runs has outgrown the cache, put out the youngest, batch sequences first, but never the last."""
        while len(self.running) > 1 and self.used_blocks > self._sizes.kv_blocks:
            youngest = list(reversed(self.running.values()))
            self._put_out(next((s for s in youngest if s.priority == "batch"), youngest[0]))

    def _put_out(self, sequence: Sequence) -> None:
        del self.running[sequence.id]
        self._places.end(sequence)
        self._queue.push(sequence)
        self.put_out += 1


def _count(spans: Iterable[Span]) -> int:
    return sum(span.count for span in spans)
