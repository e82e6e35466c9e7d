"""Complete answers that wait to be explained (`explain`), by each medium's contribution to them.

This needs forward passes outside of the engine's batch. So each turn of the worker's loop computes one short piece, and
the last token and the end are published together after the last piece.
"""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pandagpt_core.interface import ServedModel
from pandagpt_core.types import Fields
from service.broker.protocol import Generate
from service.worker.jobs import Job, sequence_of

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class ExplainedJob:
    """A job, the pieces that are left of the choice after those in `done`."""

    job: Job
    pieces: Iterator[Fields | None] | None = None
    done: list[dict[str, Any]] = field(default_factory=list)


class Explaining:
    """`waiting`: jobs to explain, first come, first served."""

    def __init__(self, runtime: ServedModel) -> None:
        self._runtime = runtime
        self.waiting: deque[ExplainedJob] = deque()

    def add(self, job: Job) -> None:
        self.waiting.append(ExplainedJob(job))

    def holds(self, job: Job) -> bool:
        return any(one.job is job for one in self.waiting)

    def step(self) -> None:
        """Compute a piece for the first. An error of the model leaves the answer without its explanation."""
        one = self.waiting[0]
        try:
            self._compute(one)
        except Exception:  # a complete answer must not be lost by its explanation
            log.exception("an answer could not be explained", extra={"request_id": one.job.id})
            self._end(one, [])
        if len(one.done) == len(one.job.choices):
            self._end(one, one.done)

    def drop(self, job: Job) -> None:
        """The job ended or is another worker's now. Jobs that are not here are fine."""
        self.waiting = deque(one for one in self.waiting if one.job is not job)

    def _compute(self, one: ExplainedJob) -> None:
        if one.pieces is None:
            request, number = one.job.delivery.request, len(one.done)
            assert isinstance(request, Generate)
            one.pieces = self._runtime.explain(sequence_of(one.job, request, number), one.job.choices[number].tokens)
        fields = next(one.pieces)
        if fields is not None:
            one.done.append(dict(fields))
            one.pieces = None

    def _end(self, one: ExplainedJob, explanations: list[dict[str, Any]]) -> None:
        self.drop(one.job)
        one.job.explained(explanations)
