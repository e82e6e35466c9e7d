"""The jobs in the engine: letting them in, stepping, and getting them out again without harm to their neighbours."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pandagpt_core.errors import EngineDead, EngineError, PandaGPTError
from pandagpt_core.interface import Admitted, EngineStats, ServedModel
from pandagpt_core.types import TokenOutput
from service.broker.protocol import Done, Failed, Generate, Started
from service.metrics import WorkerMetrics
from service.worker.encoding.spoken import speech_fields, spoken_texts, with_speech
from service.worker.generation.between_steps import PieceQueue, explain, look_up, publish_prompts
from service.worker.generation.quarantine import Quarantine
from service.worker.jobs import Job, conversation_of, pending, sequence_of

log = logging.getLogger(__name__)
COUNTED = ("stop", "length")  # the reasons by which a choice that was not given up ends


class EngineDriver:
    """Generating jobs by request id. A job that ends stays until `remove`.

    speech_tokens: of what is written down of a sound, the most that a prompt holds.
    """

    def __init__(self, runtime: ServedModel, metrics: WorkerMetrics, speech_tokens: int = 0) -> None:
        self._runtime, self._metrics, self._speech_tokens = runtime, metrics, speech_tokens
        self.running: dict[str, Job] = {}
        self.quarantine = Quarantine()
        self.searches, self.scoring, self.explaining = PieceQueue(), PieceQueue(), PieceQueue()
        self._figures = EngineFigures(metrics)

    def offer(self, job: Job) -> None:
        """A job with all its embeddings: into the engine, behind those in quarantine, or first to have a large cache
        searched for its media or its prompts scored."""
        request = job.delivery.request
        assert isinstance(request, Generate)
        with self._failing(job):
            searches = bool(request.media) and job.open_choices > 0
            if not (searches and self.searches.begin(job, look_up(self._runtime, job, request))):
                self._offer(job)

    def work_between_steps(self) -> None:
        """One piece of what computes beside the engine, of each kind that waits: a search in the model's cache of
        pictures and the log probabilities of prompts, after the last piece of which the job goes on, and the
        explanation of an answer that is complete."""
        for queue, go_on in ((self.searches, self._offer), (self.scoring, self._queue), (self.explaining, None)):
            if queue.waiting:
                job, _ = queue.waiting[0]
                with self._failing(job):
                    if queue.step() and go_on is not None:
                        go_on(job)

    def _offer(self, job: Job) -> None:
        request = job.delivery.request
        assert isinstance(request, Generate)
        if request.explain:
            self._runtime.check_explains(sequence_of(job, request, 0))
        if request.echo and len(job.echoed) < len(request.prompts):
            pieces = publish_prompts(self._runtime, job, request)
            if request.params.logprobs is not None:
                self.scoring.add(job, pieces)
                return
            deque(pieces, maxlen=0)  # at once: no forward pass is needed
        self._queue(job)

    def _queue(self, job: Job) -> None:
        if self.quarantine.closed:
            self.quarantine.defer(job)
        else:
            self._enter(job)

    def readmit(self) -> None:
        """Before a step: admit the jobs in quarantine whose turn it is."""
        for released in self.quarantine.release(engine_is_empty=not self.running):
            self._enter(released)

    def step(self, beside: Future[Any] | None = None) -> None:
        """One engine step, if there is work; its tokens go to the jobs' writers once `beside` is done.

        Raises EngineError when the engine is broken. With EngineDead no request is to blame: the jobs are left to the
        worker that takes them over.
        """
        if not self._runtime.has_work:
            return
        try:
            outputs, taken = self._compute(beside)
        except EngineDead:
            raise
        except Exception as error:  # noqa: BLE001  whatever the model raises must not end its neighbours
            self._recover(error)
            return
        if self.quarantine.convictions:
            self.quarantine.acquit()
        self._metrics.step_seconds.observe(taken)
        self._metrics.step_sequences.observe(len({output.sequence_id for output in outputs}))
        self._metrics.tokens.inc(len(outputs))
        self._figures.update(self._runtime.stats())
        self._accept(outputs)

    def _compute(self, beside: Future[Any] | None) -> tuple[Sequence[TokenOutput], float]:
        """A step's outputs and its seconds, once `beside` is done too."""
        begun = time.perf_counter()
        try:
            outputs = self._runtime.step()
            return outputs, time.perf_counter() - begun
        finally:
            if beside is not None:
                wait([beside])

    def _accept(self, outputs: Iterable[TokenOutput]) -> None:
        for output in outputs:
            job = self.running.get(output.sequence_id.rpartition("/")[0])
            if job is not None and not job.ended:
                if output.error is not None:
                    log.error("the model failed on a request: %s", output.error, extra={"request_id": job.id})
                job.accept(output)
                if job.last is not None:
                    self._explain_complete(job)
                if output.finish_reason in COUNTED:
                    self._metrics.finishes.labels(output.finish_reason).inc()

    def _explain_complete(self, job: Job) -> None:
        """A job whose answer is complete and unexplained leaves the engine's for those that wait for that."""
        if not job.ended and not self.explaining.holds(job):
            request = job.delivery.request
            assert isinstance(request, Generate)
            self.running.pop(job.id, None)
            self.explaining.add(job, explain(self._runtime, job, request))

    def remove(self, job: Job) -> None:
        """Abort what still runs of a job and free its memory. Jobs that are not here are fine."""
        for queue in (self.searches, self.scoring, self.explaining):
            if queue.waiting:
                queue.drop(job)
        if self.quarantine.holds:
            self.quarantine.drop(job)
        if self.running.pop(job.id, None) is not None:
            self._abort(job)

    def _enter(self, job: Job) -> None:
        request = job.delivery.request
        assert isinstance(request, Generate)
        if job.ended:
            return
        self.running[job.id] = job
        job.entered_at = time.time()
        admitted: Admitted | None = None
        lengths: dict[int, int] = {}  # of each prompt
        with self._failing(job):
            speech = spoken_texts(request, job.embeddings) if request.speech else []
            if speech:
                job.asked = with_speech(conversation_of(request), speech, self._runtime, self._speech_tokens)
            for sequence in pending(job, request):
                admitted = self._runtime.admit(sequence)
                lengths[int(sequence.id.rpartition("/")[2]) // request.n] = admitted.prompt_tokens
                job.prompt_fields = {**(admitted.fields or {}), **(speech_fields(speech) if speech else {})} or None
                if admitted.finished is not None:
                    job.complete(sequence.id, admitted.finished)
                    if admitted.finished in COUNTED:
                        self._metrics.finishes.labels(admitted.finished).inc()
            total = sum(lengths.values())
            self._announce(job, None if admitted is None else replace(admitted, prompt_tokens=total))
            if job.last is not None:
                self._explain_complete(job)

    @contextmanager
    def _failing(self, job: Job) -> Iterator[None]:
        """The job ends as failed by what the block raises, except EngineDead, by which no request is to blame."""
        try:
            yield
        except EngineDead:
            raise
        except PandaGPTError as error:
            if isinstance(error, EngineError):
                log.error("the model failed on a request: %s", error.message, extra={"request_id": job.id})
            job.end(Failed(code=error.code, message=error.message, param=error.param))
        except Exception:
            log.exception("a request could not enter the engine", extra={"request_id": job.id})
            job.end(Failed(code="internal_error", message="the model could not take the request"))

    def _announce(self, job: Job, admitted: Admitted | None) -> None:
        if job.ended:
            return
        if admitted is None:  # every choice was complete already
            job.end(Done())
            return
        job.prompt_tokens = admitted.prompt_tokens
        self._metrics.prompt_tokens.inc(admitted.prompt_tokens)
        self._metrics.prefix_lookups.labels("hit" if admitted.cached_tokens else "miss").inc()
        if not job.announced:
            job.announced = True
            job.delivery.writer.add(
                Started(
                    at=time.time(),
                    prompt_tokens=admitted.prompt_tokens,
                    cached_items=job.cached_items,
                    cached_tokens=admitted.cached_tokens,
                )
            )

    def _recover(self, error: Exception) -> None:
        """After a step that raised: empty the engine, fail the job that is to blame if that is clear."""
        log.error("an engine step failed", exc_info=error, extra={"count": len(self.running)})
        running = list(self.running.values())
        for job in running:
            self._abort(job)
        self.running.clear()
        guilty = self.quarantine.blame(running)
        if self.quarantine.engine_is_broken:
            raise EngineError("the engine fails at every step") from error
        if guilty is not None:
            guilty.end(Failed(code="engine_error", message="the model failed on this request"))
            self.running[guilty.id] = guilty  # until it is removed as every job that ended

    def _abort(self, job: Job) -> None:
        for number in range(len(job.choices)):
            self._runtime.abort(f"{job.id}/{number}")


class EngineFigures:
    """The engine counts from its start; a Prometheus counter takes differences."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._preemptions = self._queries = self._hits = self._evictions = self._drafted = self._accepted = 0

    def update(self, stats: EngineStats) -> None:
        metrics, prefix = self._metrics, stats.prefix
        metrics.cache_used_ratio.set(stats.kv_blocks_used / max(1, stats.kv_blocks_total))
        metrics.prefix_used_ratio.set(prefix.blocks_used / max(1, prefix.blocks_total))
        metrics.engine_waiting.set(stats.waiting)
        metrics.preemptions.inc(stats.num_preemptions - self._preemptions)
        metrics.prefix_asked.inc(prefix.queries - self._queries)
        metrics.prefix_hits.inc(prefix.hits - self._hits)
        metrics.prefix_evictions.inc(prefix.evictions - self._evictions)
        metrics.drafted.inc(stats.drafted - self._drafted)
        metrics.accepted.inc(stats.accepted - self._accepted)
        self._preemptions, self._queries = stats.num_preemptions, prefix.queries
        self._hits, self._evictions = prefix.hits, prefix.evictions
        self._drafted, self._accepted = stats.drafted, stats.accepted
