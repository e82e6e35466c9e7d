"""From a request's media to its embeddings: from the store where anyone encoded them before, else in batches.

Nothing waits for company while its modality's encoder is free: requests that were taken together are encoded together,
later ones gather for its next batch while it is busy, and a medium alone is encoded at once. A medium that cannot be
had or encoded ends only the requests that use it.
"""

import itertools
import logging
import time
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import partial

import numpy as np

from pandagpt_core.interface import ServedModel
from pandagpt_core.speech.base import Recogniser
from pandagpt_core.types import Modality
from service.broker.errors import StoreUnavailable
from service.broker.media_cache import EmbeddingCache, media_name
from service.broker.protocol import Failed, Generate, MediaRef
from service.metrics import WorkerMetrics
from service.worker.encoding.encoder_executor import SPEECH, Encoded, EncoderExecutor, encoded
from service.worker.encoding.spoken import NOTHING, written_down
from service.worker.jobs import Job

log = logging.getLogger(__name__)
IDLE_ENDS = 1.0  # seconds that threads with nothing to do may take to end
LONGEST_LOOK = 5.0  # seconds of a turn of the loop that count as a lane's: a process that was stopped has not hung
GONE = Failed(code="store_unavailable", message="a medium is no longer in the store; send the request again")


@dataclass(slots=True, eq=False)
class EncodeBatch:
    """The batch that a modality's encoder thread computes, and the seconds it has taken so far."""

    names: Sequence[str]
    result: Future[Encoded]
    seconds: float = 0.0


class Batcher:
    """Media names that wait to be encoded, by modality, oldest first; each name once."""

    def __init__(self, size: int) -> None:
        self._size, self._order = size, itertools.count()
        self._waiting: dict[str, dict[str, int]] = {}  # name -> its place in the order of arrival

    def add(self, modality: str, name: str) -> None:
        self._waiting.setdefault(modality, {}).setdefault(name, next(self._order))

    def take(self, busy: Container[str] = ()) -> tuple[str, list[str]] | None:
        """The batch that has waited longest, at most `size` of one modality that is not busy."""
        free = [(next(iter(names.values())), modality) for modality, names in self._waiting.items() if names]
        oldest = min((one for one in free if one[1] not in busy), default=None)
        if oldest is None:
            return None
        names = list(self._waiting[oldest[1]])[: 1 if oldest[1] == SPEECH else self._size]
        for name in names:
            del self._waiting[oldest[1]][name]
        return oldest[1], names

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))


class EncodeStage:
    """Jobs whose media are not all embedded yet. A job's `embeddings` go by the names in its `MediaRef.blob`.

    A batch that is encoded for longer than `limit` seconds is stuck.
    """

    def __init__(
        self,
        runtime: ServedModel,
        cache: EmbeddingCache,
        batcher: Batcher,
        executor: EncoderExecutor,
        metrics: WorkerMetrics,
        limit: float,
        clock: Callable[[], float] = time.monotonic,
        recogniser: Recogniser | None = None,
    ) -> None:
        self._recogniser = recogniser
        self._runtime, self._cache, self._batcher, self._executor = runtime, cache, batcher, executor
        self._metrics, self._limit, self._clock = metrics, limit, clock
        self.jobs: dict[str, Job] = {}
        self.running: dict[str, EncodeBatch] = {}  # at most one in each lane
        self._looked = clock()

    def add(self, job: Job) -> None:
        """Look up what others encoded already; the rest waits for a batch. StoreUnavailable: then it is not here."""
        parts = {part.blob: part for part in job.delivery.request.media}
        spoken = self._spoken(job)
        if not all(self._is_ours(job, part) for part in parts.values()):
            self.jobs[job.id] = job
            job.end(Failed(code="store_unavailable", message="the model has changed; send the request again"))
            return
        job.embeddings = self._cache.embeddings([*parts, *spoken])
        self.jobs[job.id] = job
        job.cached_items = len(parts.keys() & job.embeddings.keys())
        job.waits_for = {*parts, *spoken} - set(job.embeddings)
        for name in spoken & job.waits_for:
            self._batcher.add(SPEECH, name)
        for name, part in parts.items():
            outcome = "miss" if name in job.waits_for else "hit"
            self._metrics.embedding_cache.labels(part.modality, outcome).inc()
            if name in job.waits_for:
                self._batcher.add(part.modality, name)

    def encode(self, wait_s: float = 0.0) -> tuple[tuple[str, ...], list[Job]]:
        """Take in what the lanes have done and give the free ones what waits; then wait so long for one of them, unless
        a job has what it needs. Answers the lanes that are stuck, and the jobs that are ready and leave here."""
        self._turn()
        if wait_s and self.running and all(job.waits_for and not job.ended for job in self.jobs.values()):
            wait([batch.result for batch in self.running.values()], wait_s, FIRST_COMPLETED)
            self._turn()
        return self.stuck, self.ready()

    def _turn(self) -> None:
        self._age()
        for modality, batch in list(self.running.items()):
            done = batch.result.done()
            self._metrics.encode_busy.labels(modality).set(0.0 if done else batch.seconds)
            if done:
                del self.running[modality]
                self._take_in(batch.result.result())
        while (due := self._batcher.take(busy=self.running)) is not None:
            modality, names = due
            wanted = [name for name in names if self._users(name)]
            try:
                self._begin(modality, wanted)
            except StoreUnavailable:
                for name in wanted:  # not lost: the next batch tries again
                    self._batcher.add(modality, name)
                raise

    @property
    def stuck(self) -> tuple[str, ...]:
        """The lanes whose batch has taken longer than the limit."""
        return tuple(modality for modality in self.running if self._left(modality) <= 0)

    def held_up(self) -> list[Job]:
        """The jobs that wait for media in stuck lanes."""
        names = {name for modality in self.stuck for name in self.running[modality].names}
        return [job for job in self.jobs.values() if not job.ended and not job.waits_for.isdisjoint(names)]

    def close(self, patient: bool = True) -> bool:
        """Let the lanes end, waiting for those that are not stuck. Returns whether all stand still."""
        patience = max(map(self._left, self.running), default=0.0) if patient else 0.0
        return self._executor.close(max(IDLE_ENDS, patience))

    def ready(self) -> list[Job]:
        """Jobs that have all they need, or have ended; they leave here."""
        done = [job for job in self.jobs.values() if not job.waits_for or job.ended]
        for job in done:
            del self.jobs[job.id]
        return done

    def drop(self, job: Job) -> None:
        """Forget a job that ended or is another worker's now. Jobs that are not here are fine."""
        self.jobs.pop(job.id, None)

    def _spoken(self, job: Job) -> set[str]:
        """The sounds that this worker's recogniser writes down for the request's prompt."""
        request, recogniser = job.delivery.request, self._recogniser
        if not isinstance(request, Generate) or recogniser is None:
            return set()
        owner, by = request.cache_group or request.tenant, recogniser.info.digest
        return {part.blob for part in request.speech if part.blob == media_name(owner, by, part.digest)}

    def _is_ours(self, job: Job, part: MediaRef) -> bool:
        # A gateway that still has another version of the model's announcement names another encoder's arrays. Where
        # workers of several versions serve the model, it names the whole encoder.
        request, info = job.delivery.request, self._runtime.info
        owner = request.cache_group or request.tenant
        digests = (info.tower_digests.get(part.modality), info.encoder_digest)
        return part.blob in [media_name(owner, digest, part.digest) for digest in digests if digest]

    def _begin(self, modality: str, names: list[str]) -> None:
        arrays = self._cache.arrays(names)
        if absent := [name for name in names if name not in arrays]:
            self._do_without(modality, absent)
        if arrays:
            if modality == SPEECH and self._recogniser is not None:
                work = partial(written_down, self._recogniser, arrays)
            else:
                work = partial(encoded, self._runtime, Modality(modality), arrays)
            self.running[modality] = EncodeBatch(tuple(arrays), self._executor.submit(modality, work))

    def _do_without(self, modality: str, absent: Sequence[str]) -> None:
        """Another worker may have encoded them since, and dropped the arrays."""
        found = self._cache.embeddings(absent)
        self._give(found)
        gone = [name for name in absent if name not in found]
        if modality == SPEECH:
            self._give(dict.fromkeys(gone, NOTHING))  # an answer does without
        else:
            self._fail(dict.fromkeys(gone, GONE))

    def _age(self) -> None:
        """The batches that run are older by the time since the last look, as far as it counts."""
        now = self._clock()
        passed, self._looked = min(now - self._looked, LONGEST_LOOK), now
        for batch in self.running.values():
            batch.seconds += passed if batch.result.running() else 0.0

    def _left(self, modality: str) -> float:
        """The seconds that a lane's batch may still take."""
        batch = self.running[modality]
        return IDLE_ENDS if batch.result.done() else self._limit - batch.seconds

    def _take_in(self, done: Encoded) -> None:
        self._metrics.encode_seconds.labels(done.modality).observe(done.seconds)
        self._metrics.encode_batch.labels(done.modality).observe(len(done.embeddings) + len(done.failures))
        self._fail(done.failures)
        self._give(done.embeddings)
        self._keep(done.embeddings)

    def _give(self, embeddings: Mapping[str, np.ndarray]) -> None:
        for name, embedding in embeddings.items():
            for job in self._users(name):
                job.embeddings[name] = embedding
                job.waits_for.discard(name)

    def _keep(self, embeddings: Mapping[str, np.ndarray]) -> None:
        try:
            if embeddings:
                self._cache.add(embeddings)
        except StoreUnavailable as error:
            log.warning("new embeddings could not be kept", extra={"error": error.code})

    def _fail(self, failures: Mapping[str, Failed]) -> None:
        for name, failure in failures.items():
            for job in self._users(name):
                job.end(failure)

    def _users(self, name: str) -> list[Job]:
        return [job for job in self.jobs.values() if name in job.waits_for and not job.ended]
