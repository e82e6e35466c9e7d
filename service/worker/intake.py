"""From a request's media to its embeddings: from the store where anyone encoded them before, else in batches.

A medium that cannot be had or encoded ends only the requests that use it.
"""

import logging
import time
from collections.abc import Iterable, Sequence

import numpy as np

from pandagpt_core.errors import PandaGPTError
from pandagpt_core.types import Modality
from service.broker.blobs import EmbeddingCache, media_name
from service.broker.errors import StoreUnavailable
from service.broker.protocol import Failed, MediaPart
from service.metrics import WorkerMetrics
from service.worker.batching import Batches
from service.worker.jobs import Job
from service.worker.model import Runtime

log = logging.getLogger(__name__)
BAD_OUTPUT = Failed(code="invalid_media", message="the encoder's output for a medium is not finite")
BAD_ARRAY = Failed(code="internal_error", message="a medium could not be encoded")
GONE = Failed(code="store_unavailable", message="a medium is no longer in the store; send the request again")


class Intake:
    """Jobs whose media are not all embedded yet. A job's `embeddings` go by the names in its `MediaPart.blob`."""

    def __init__(self, runtime: Runtime, cache: EmbeddingCache, batches: Batches, metrics: WorkerMetrics) -> None:
        self._runtime, self._cache, self._batches, self._metrics = runtime, cache, batches, metrics
        self._jobs: dict[str, Job] = {}

    def add(self, job: Job) -> None:
        """Look up what others encoded already; the rest waits for a batch. Raises StoreUnavailable."""
        parts = {part.blob: part for part in job.delivery.request.media}
        self._jobs[job.id] = job
        if not all(self._is_ours(job, part) for part in parts.values()):
            job.end(Failed(code="store_unavailable", message="the model has changed; send the request again"))
            return
        job.embeddings = self._cache.embeddings(list(parts))
        job.cached_items = len(job.embeddings)
        job.waits_for = set(parts) - set(job.embeddings)
        for name, part in parts.items():
            outcome = "miss" if name in job.waits_for else "hit"
            self._metrics.embedding_cache.labels(part.modality, outcome).inc()
            if name in job.waits_for:
                self._batches.add(part.modality, name)

    def encode(self) -> None:
        """Encode one batch if one is due."""
        due = self._batches.take()
        if due is not None:
            modality, names = due
            wanted = [name for name in names if self._users(name)]
            try:
                self._encode(modality, wanted)
            except StoreUnavailable:
                for name in wanted:  # not lost: the next batch tries again
                    self._batches.add(modality, name)
                raise

    def ready(self) -> list[Job]:
        """Jobs that have all they need, or have ended; they leave here."""
        done = [job for job in self._jobs.values() if not job.waits_for or job.ended]
        for job in done:
            del self._jobs[job.id]
        return done

    def drop(self, job: Job) -> None:
        """Forget a job that ended or is another worker's now. Jobs that are not here are fine."""
        self._jobs.pop(job.id, None)

    @property
    def jobs(self) -> Sequence[Job]:
        return tuple(self._jobs.values())

    def _is_ours(self, job: Job, part: MediaPart) -> bool:
        # A gateway that still knows another version of the model asked for another encoder's arrays.
        return part.blob == media_name(job.delivery.request.tenant, self._runtime.info.encoder_digest, part.digest)

    def _encode(self, modality: Modality, names: list[str]) -> None:
        arrays = self._cache.arrays(names)
        absent = [name for name in names if name not in arrays]
        # Another worker may have encoded it since, and dropped the array.
        found = self._cache.embeddings(absent)
        self._give(found)
        self._fail((name for name in absent if name not in found), GONE)
        if arrays:
            begun = time.perf_counter()
            embedded = self._embed(modality, arrays)
            self._metrics.encode_seconds.labels(modality).observe(time.perf_counter() - begun)
            self._metrics.encode_batch.labels(modality).observe(len(arrays))
            self._give(embedded)
            self._keep(embedded)

    def _embed(self, modality: Modality, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All at once; where that fails, one by one, so that only the bad ones fail."""
        try:
            embeddings = dict(zip(arrays, self._runtime.encode(modality, list(arrays.values())), strict=True))
        except Exception as error:  # noqa: BLE001  whatever a model raises for one medium must not end the worker
            if len(arrays) == 1:
                self._fail(arrays, _failure(error))
                return {}
            parts = [self._embed(modality, {name: array}) for name, array in arrays.items()]
            return {name: embedding for part in parts for name, embedding in part.items()}
        bad = [name for name, embedding in embeddings.items() if not np.isfinite(embedding).all()]
        self._fail(bad, BAD_OUTPUT)
        return {name: embedding for name, embedding in embeddings.items() if name not in bad}

    def _give(self, embeddings: dict[str, np.ndarray]) -> None:
        for name, embedding in embeddings.items():
            for job in self._users(name):
                job.embeddings[name] = embedding
                job.waits_for.discard(name)

    def _keep(self, embeddings: dict[str, np.ndarray]) -> None:
        try:
            if embeddings:
                self._cache.add(embeddings)
        except StoreUnavailable as error:
            log.warning("new embeddings could not be kept", extra={"error": error.code})

    def _fail(self, names: Iterable[str], failure: Failed) -> None:
        for name in names:
            for job in self._users(name):
                job.end(failure)

    def _users(self, name: str) -> list[Job]:
        return [job for job in self._jobs.values() if name in job.waits_for and not job.ended]


def _failure(error: Exception) -> Failed:
    if isinstance(error, PandaGPTError):
        return Failed(code=error.code, message=error.message, param=error.param)
    log.error("a medium could not be encoded", exc_info=error)
    return BAD_ARRAY
