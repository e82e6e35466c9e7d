"""Who is admitted next: interactive before batch, first come first served within each, and now and then a batch one."""

import heapq
from itertools import count

from pandagpt_core.engine.sequence import Sequence
from pandagpt_core.types import Priority


class Queue:
    """Sequences that wait. One that is put back takes its old place, since its arrival keeps its number.

    After `batch_turn` interactive admissions in a row while batch sequences wait comes one of those.
    """

    def __init__(self, batch_turn: int) -> None:
        self._batch_turn = batch_turn
        self._lanes: dict[Priority, list[tuple[int, Sequence]]] = {"interactive": [], "batch": []}
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
        heapq.heappush(self._lanes[sequence.priority], (sequence.arrival, sequence))

    def head(self) -> Sequence | None:
        """The next to be admitted; nobody overtakes it, however small."""
        interactive, batch = self._lanes["interactive"], self._lanes["batch"]
        batch_turn = not interactive or (batch and self._passed_over >= self._batch_turn)
        lane = batch if batch_turn else interactive
        return lane[0][1] if lane else None

    def pop(self) -> Sequence:
        """Admit the head."""
        sequence = self.head()
        assert sequence is not None
        heapq.heappop(self._lanes[sequence.priority])
        del self._waiting[sequence.id]
        passes_over = sequence.priority == "interactive" and bool(self._lanes["batch"])
        self._passed_over = self._passed_over + 1 if passes_over else 0
        return sequence

    def remove(self, sequence_id: str) -> Sequence | None:
        sequence = self._waiting.pop(sequence_id, None)
        if sequence is not None:
            lane = self._lanes[sequence.priority]
            lane[:] = [entry for entry in lane if entry[1] is not sequence]
            heapq.heapify(lane)
        return sequence
