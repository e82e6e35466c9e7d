"""Finding the request that breaks an engine step, so that its neighbours live.

A step that raises does not name its job. All jobs leave the engine and come back in two halves, one after the other,
each job with the tokens it has published; a half that raises is halved again, and a job that raises alone is the one.
Resuming is exact, so the others' callers see only a pause. No other job enters before the halves are through.
When two jobs in a row raise alone, without one good step between, the engine itself is broken and the worker gives up.
"""

from collections.abc import Sequence

from service.worker.jobs import Job

BROKEN = 2  # jobs in a row that raise alone


class Quarantine:
    """The jobs that wait to come back, in groups, the next group last; and those that came meanwhile."""

    def __init__(self) -> None:
        self._groups: list[list[Job]] = []
        self._deferred: list[Job] = []
        self.convictions = 0  # jobs in a row that raised alone
        self.holds = False  # whether any job is here
        self.closed = False  # whether no new job may enter the engine

    def blame(self, running: Sequence[Job]) -> Job | None:
        """A step raised: the job to fail if it ran alone; else None, and all of them wait in halves."""
        if len(running) == 1:
            self.convictions += 1
            return running[0]
        middle = len(running) // 2
        self._groups += [half for half in (list(running[middle:]), list(running[:middle])) if half]
        self._note()
        return None

    @property
    def engine_is_broken(self) -> bool:
        return self.convictions >= BROKEN

    def acquit(self) -> None:
        """A step went well."""
        self.convictions = 0

    def defer(self, job: Job) -> None:
        """A new job that came while the engine is closed."""
        self._deferred.append(job)
        self._note()

    def release(self, engine_is_empty: bool) -> list[Job]:
        """The jobs to let in now: the next group once the engine is empty, the deferred ones after the last group."""
        if self._groups:
            released = self._groups.pop() if engine_is_empty else []
        else:
            released, self._deferred = self._deferred, []
        self._note()
        return released

    def drop(self, job: Job) -> None:
        """The job ended or is another worker's now. Jobs that are not here are fine."""
        for group in (*self._groups, self._deferred):
            if job in group:
                group.remove(job)
        self._groups = [group for group in self._groups if group]
        self._note()

    @property
    def waiting(self) -> tuple[Job, ...]:
        return (*(job for group in self._groups for job in group), *self._deferred)

    def _note(self) -> None:
        self.closed = bool(self._groups)
        self.holds = self.closed or bool(self._deferred)
