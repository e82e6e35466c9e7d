"""Finding the request that breaks an engine step, so that its neighbours live.

A step that raises names nobody. All its jobs leave the engine and come back one by one, each with the tokens it has
published; if a step raises while one of them is on trial, it is the one. A job that was there at a second unclear
failure comes back alone and stays alone until it ends. Resuming is exact, so the others' callers see only a pause.
When several steps in a row raise, the engine itself is broken and the worker gives up.
"""

from collections import Counter, deque
from collections.abc import Iterable

from service.worker.jobs import Job

BROKEN = 3  # raising steps without a good one between


class Quarantine:
    """The jobs that wait to come back, and the one on trial."""

    def __init__(self) -> None:
        self._suspects: deque[Job] = deque()
        self._seen: Counter[str] = Counter()
        self._trial: Job | None = None
        self._raised = 0

    def blame(self, running: Iterable[Job]) -> Job | None:
        """A step raised: the job to fail, or None when it takes trials to tell. The others become suspects."""
        jobs = list(running)
        self._raised += 1
        guilty = jobs[0] if len(jobs) == 1 else self._trial
        others = [job for job in jobs if job is not guilty]
        self._suspects.extendleft(reversed(others))
        self._seen.update(job.id for job in others)
        self._trial = None
        return guilty

    @property
    def engine_is_broken(self) -> bool:
        return self._raised >= BROKEN

    def acquit(self) -> None:
        """A step went well: so much for the trial, but for a job that must stay alone."""
        self._raised = 0
        if self._trial is not None and not self._is_solitary(self._trial):
            self._trial = None

    def next(self, engine_is_empty: bool) -> Job | None:
        """The job to let in now, on trial, if any."""
        if self._trial is not None or not self._suspects:
            return None
        if self._is_solitary(self._suspects[0]) and not engine_is_empty:
            return None
        self._trial = self._suspects.popleft()
        return self._trial

    def defer(self, job: Job) -> None:
        """A new job that came while the engine is closed: it waits behind the suspects."""
        self._suspects.append(job)

    def drop(self, job: Job) -> None:
        """The job ended or is another worker's now."""
        self._seen.pop(job.id, None)
        if job in self._suspects:
            self._suspects.remove(job)
        if job is self._trial:
            self._trial = None

    @property
    def waiting(self) -> tuple[Job, ...]:
        return tuple(self._suspects)

    @property
    def closed(self) -> bool:
        """Whether nobody new may enter the engine."""
        return bool(self._suspects) or self._trial is not None

    def _is_solitary(self, job: Job) -> bool:
        return self._seen[job.id] > 1
