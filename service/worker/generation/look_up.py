"""Requests whose media are searched for in a large cache of pictures before they enter the engine.

A product with a million rows takes about a second of a CPU. So each turn of the worker's loop computes one short piece
of one search, between the steps of the others.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from pandagpt_core.interface import ServedModel
from pandagpt_core.types import NOTHING_FOUND, Found
from service.broker.protocol import Generate
from service.worker.jobs import Job, sequence_of


@dataclass(slots=True, eq=False)
class LookUpJob:
    """A job, and the pieces of its search that are left."""

    job: Job
    pieces: Iterator[Found | None]


class LookUp:
    """`waiting`: jobs whose search is not done, first come first."""

    def __init__(self, runtime: ServedModel) -> None:
        self._runtime = runtime
        self.waiting: deque[LookUpJob] = deque()

    def add(self, job: Job) -> bool:
        """Whether the job waits here. Raises the model's errors for its request."""
        request = job.delivery.request
        assert isinstance(request, Generate)
        if not request.media or not job.open_choices:
            return False
        pieces = self._runtime.look_up(sequence_of(job, request, 0))
        if (found := next(pieces)) is not None:
            job.found = found
            return False
        self.waiting.append(LookUpJob(job, pieces))
        return True

    def step(self) -> bool:
        """Compute a piece for the first. True when its search is done; then it waits no more.

        Raises what the model raises; then it waits no more either.
        """
        one = self.waiting[0]
        try:
            one.job.found = next(one.pieces, NOTHING_FOUND)
        except Exception:
            self.waiting.popleft()
            raise
        if one.job.found is None:
            return False
        self.waiting.popleft()
        return True

    def drop(self, job: Job) -> None:
        """The job ended or is another worker's now. Jobs that are not here are fine."""
        self.waiting = deque(one for one in self.waiting if one.job is not job)
