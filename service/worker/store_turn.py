"""The store's part of a turn: publish and read what was cancelled, then take. It runs beside the model's step.

So a step waits for no round trip, however far the store is: the tokens of step n are published while step n + 1
computes. The thread has the consumer and the writers to itself until it is joined, which is before the step's outputs
reach the writers.
"""

from collections.abc import Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from service.broker.errors import StoreUnavailable
from service.broker.worker.consumer import Consumer, Flushed
from service.broker.worker.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What came of it. `error`: the store failed after as much."""

    flushed: Flushed
    taken: Sequence[Delivery] = ()
    error: StoreUnavailable | None = None


class StoreTurn:
    """`with turn: step()` runs it beside the step; `result` has what came of it, and runs it where no step did.

    room: requests to take at most, about; patience: seconds that the store may wait for the first where no step runs.
    """

    def __init__(self, consumer: Consumer, executor: Executor, room: int, patience: float) -> None:
        self._consumer, self._executor = consumer, executor
        self._room, self._patience = room, patience
        self._beside: Future[Exchanged] | None = None

    def __enter__(self) -> Self:
        self._beside = self._executor.submit(self._exchange, 0.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._beside is not None
        wait([self._beside])

    def result(self) -> Exchanged:
        """Raises what is not the store's failure."""
        return self._exchange(self._patience) if self._beside is None else self._beside.result()

    def _exchange(self, patience: float) -> Exchanged:
        flushed = Flushed()
        try:
            flushed = self._consumer.flush()
            return Exchanged(flushed, self._consumer.take(self._room, patience))
        except StoreUnavailable as error:
            return Exchanged(flushed, error=error)
