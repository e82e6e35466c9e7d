"""The worker's loop: encode, admit, step, and beside the step publish and take. A turn is as long as the language
model's step.

Media are encoded beside it (`encoder_executor`), and so is the store's part: the tokens of step n are published while
step n + 1 computes, so a step waits for no round trip. The store's thread has the consumer and the writers to itself
until it is joined, which is before the step's outputs reach the writers.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pandagpt_core.interface import ServedModel
from service.broker.errors import StoreUnavailable
from service.broker.protocol import Done, Embed, Generate, Tokenize, Transcribe
from service.broker.worker.consumer import Consumer, Exchanged, Flushed
from service.broker.worker.delivery import Delivery, expired
from service.broker.worker.heartbeat import Heartbeat
from service.metrics import WorkerMetrics
from service.tracing import Tracer
from service.worker.accounting import count_and_trace
from service.worker.encoding.encode_stage import EncodeStage
from service.worker.encoding.encoder_executor import SPEECH, EncoderStuck
from service.worker.encoding.speech_stage import SpeechStage
from service.worker.generation.engine_driver import EngineDriver
from service.worker.immediate import embed_media, tokenize
from service.worker.jobs import Job
from service.worker.malloc_trim import MallocTrim

log = logging.getLogger(__name__)
IDLE_WAIT = 0.1  # seconds that an idle worker waits for a request before it looks around
ENCODER_WAIT = 0.004  # seconds that the loop waits for an encoder before it looks at the queue
STORE_PAUSE = 0.1  # seconds between tries when the store fails and there is nothing else to do


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Limits of a worker's load.

    sequences: that the engine runs at once; prefetch: more that are taken so that their media are ready in time.
    grace: seconds that running requests may go on once the worker drains.
    """

    sequences: int
    prefetch: int
    grace: float


class Worker:
    """One model on one device. `run` returns once drained; `drain` may be called from a signal handler."""

    def __init__(
        self,
        runtime: ServedModel,
        consumer: Consumer,
        encoding: EncodeStage,
        speech: SpeechStage,
        heartbeat: Heartbeat,
        metrics: WorkerMetrics,
        limits: WorkerLimits,
        tracer: Tracer,
        malloc_trim: MallocTrim | None = None,
    ) -> None:
        self._runtime, self._consumer, self._encoding = runtime, consumer, encoding
        self._speech = speech
        self._heartbeat, self._metrics, self._limits = heartbeat, metrics, limits
        self._tracer = tracer
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._malloc_trim = malloc_trim or MallocTrim()
        self._engine = EngineDriver(runtime, metrics, speech.context_tokens)
        self._jobs: dict[str, Job] = {}  # the taken ones that are not let go of yet
        self._new: deque[Job] = deque()  # the jobs whose media were not looked up yet
        self._load = 0  # sequences of the jobs that are taken and not ended
        self._first_deadline = math.inf  # no job's deadline is earlier
        self._drain_until: float | None = None
        self._stuck: EncoderStuck | None = None

    def run(self, on_announced: Callable[[], None] = lambda: None) -> None:
        """Work until drained. Raises StoreUnavailable at the start, EngineError when the engine is broken, EncoderStuck
        when an encoder hung, after as much as a drain lets end; the encoder's thread still hangs then."""
        self._consumer.open()
        self._heartbeat.start()
        try:
            on_announced()
            while not self._is_drained:
                self._turn()
            self._leave()
        finally:
            self._heartbeat.stop()  # first: no request is to come here while an encoder ends what it has begun
            self._executor.shutdown(wait=False)
            patient = self._stuck is None
            still = self._speech.close(patient) and self._encoding.close(patient)
        if self._stuck is not None:
            raise self._stuck
        if not still:
            raise EncoderStuck("an encoder did not end")

    def drain(self, grace: float | None = None) -> None:
        """Take nothing more, end what runs within `grace` seconds (the configured ones), hand back the rest."""
        # Nothing that locks: a signal handler may interrupt anything, this too.
        self._drain_until = time.monotonic() + (self._limits.grace if grace is None else grace)

    @property
    def silent_s(self) -> float:
        """Seconds since the loop's last turn."""
        return self._heartbeat.silent_s

    @property
    def draining(self) -> bool:
        return self._drain_until is not None

    def _turn(self) -> None:
        stepped, busy = False, bool(self._jobs or self._encoding.running or self._speech.running)
        try:
            self._prepare()
            room = self._limits.sequences + self._limits.prefetch - self._load if self._drain_until is None else 0
            if self._engine.quarantine.holds:
                self._engine.readmit()
            beside, stepped = None, True
            if self._runtime.has_work:
                beside = self._executor.submit(self._consumer.exchange, room, 0.0)
                self._engine.step(beside)
            self._apply(self._consumer.exchange(room, self._wait) if beside is None else beside.result())
        except StoreUnavailable as error:
            if not stepped:
                if self._engine.quarantine.holds:
                    self._engine.readmit()
                self._engine.step()  # the model goes on; its tokens are published when the store is back
            self._pause(error)
        if time.time() >= self._first_deadline:
            self._end_expired()
        self._clear()
        self._heartbeat.turned_at = now = time.monotonic()
        self._metrics.loop_turned.set(time.time())
        if busy:
            self._malloc_trim.worked_at = now
        if now >= self._malloc_trim.look_at:
            self._malloc_trim.look(now)

    def _prepare(self) -> None:
        if self._drain_until is not None:
            self._heartbeat.drain()
            if self._new or self._encoding.jobs:
                self._hand_back([*self._new, *self._encoding.jobs.values()])
        while self._new:
            self._begin(self._new[0])
            self._new.popleft()
        is_idle = (
            not self._runtime.has_work
            and len(self._consumer.held) == len(self._jobs)  # all ended jobs are settled
            and all(job.delivery.writer.idle for job in self._jobs.values())
        )
        if self._encoding.jobs or self._encoding.running:
            # Here, not in a blocking read of the store, which ends by the store's clock of a tenth of a second.
            stuck, ready = self._encoding.encode(ENCODER_WAIT if is_idle else 0.0)
            if stuck and self._stuck is None:
                self._leave_stuck(", ".join(stuck), self._encoding.held_up())
            self._admit(ready)
        if self._speech.jobs or self._speech.running:
            self._speech.hear(ENCODER_WAIT if is_idle and not self._encoding.running else 0.0)
            if self._speech.stuck and self._stuck is None:
                self._leave_stuck(SPEECH, self._speech.held_up())
        if self._engine.searches.waiting or self._engine.scoring.waiting or self._engine.explaining.waiting:
            self._engine.work_between_steps()

    def _receive(self, delivery: Delivery) -> None:
        job = Job.of(delivery, self._runtime.parse)
        self._jobs[delivery.request.id] = job
        self._new.append(job)
        self._load += job.load
        self._first_deadline = min(self._first_deadline, delivery.request.deadline)
        waited = max(0.0, time.time() - delivery.request.created)
        self._metrics.queue_seconds.labels(delivery.request.priority).observe(waited)
        if delivery.history.losses:
            self._metrics.takeovers.inc()

    def _begin(self, job: Job) -> None:
        """Give the job to its first stage. Raises StoreUnavailable; then no stage has it."""
        if isinstance(job.delivery.request, Transcribe):
            self._speech.add(job)
        else:
            self._encoding.add(job)

    def _leave_stuck(self, which: str, held_up: Sequence[Job]) -> None:
        """An encoder hangs: others take the requests that wait for it, as from a dead worker; this worker leaves."""
        log.error(
            "an encoder hangs; its requests are left to others and this worker leaves",
            extra={"modality": which, "count": len(held_up)},
        )
        self._stuck = EncoderStuck(f"{which}: a batch did not end within encode_limit_s")
        if self._drain_until is None:
            self.drain()
        self._hand_back(held_up, as_lost=True)

    def _admit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job.ended:
                continue
            match job.delivery.request:
                case Embed() as request:
                    embed_media(self._runtime, job, request)
                case Tokenize() as request:
                    tokenize(self._runtime, job, request)
                case Generate():
                    self._engine.offer(job)

    def _apply(self, exchanged: Exchanged) -> None:
        """Raises StoreUnavailable, after what the store gave before it failed."""
        self._heed(exchanged.flushed)
        for delivery in exchanged.taken:
            self._receive(delivery)
        if exchanged.error is not None:
            raise exchanged.error

    def _heed(self, flushed: Flushed) -> None:
        for name in flushed.lost:
            log.info("a request is another worker's now", extra={"request_id": name})
            if name in self._jobs:
                self._forget(self._jobs[name])
        for name in flushed.cancelled:
            if (job := self._jobs.get(name)) is not None and not job.ended:
                job.end(Done(cancelled=True))

    def _end_expired(self) -> None:
        self._first_deadline = math.inf
        for job in self._jobs.values():
            if job.ended:
                continue
            end = expired(job.delivery.request)
            if end is not None:
                job.end(end)
            else:
                self._first_deadline = min(self._first_deadline, job.delivery.request.deadline)

    def _clear(self) -> None:
        """Let go of jobs that ended; the consumer still holds what is not published or settled yet."""
        for job in [job for job in self._jobs.values() if job.ended]:
            self._forget(job)
            count_and_trace(self._metrics, self._tracer, job)
        self._metrics.running.set(sum(job.open_choices for job in self._engine.running.values()))
        self._metrics.waiting.set(len(self._encoding.jobs) + len(self._speech.jobs))

    def _forget(self, job: Job) -> None:
        if self._jobs.pop(job.id, None) is None:
            return
        self._load -= job.load
        if job.id in self._encoding.jobs:
            self._encoding.drop(job)
        if job.id in self._speech.jobs:
            self._speech.drop(job)
        self._engine.remove(job)
        if job in self._new:
            self._new.remove(job)

    def _hand_back(self, jobs: Iterable[Job], as_lost: bool = False) -> None:
        unfinished = [job for job in list(jobs) if not job.ended]
        for job in unfinished:
            self._forget(job)
        if unfinished:
            self._consumer.hand_back([job.id for job in unfinished], as_lost)
            log.info("requests handed back", extra={"count": len(unfinished)})

    def _leave(self) -> None:
        """After the grace: other workers get the jobs that are left, at once or when they miss our heartbeat."""
        try:
            self._hand_back(self._jobs.values())
            self._consumer.flush()
            self._consumer.close()
        except StoreUnavailable as error:
            log.warning("requests could not be handed back", extra={"error": error.code})

    def _pause(self, error: StoreUnavailable) -> None:
        log.warning("the store failed; going on without it", extra={"error": error.code})
        if not self._runtime.has_work:
            time.sleep(STORE_PAUSE)

    @property
    def _wait(self) -> float:
        """Seconds that `take` may wait: 0 where other work is to be done."""
        busy = self._runtime.has_work or self._encoding.jobs or self._speech.jobs or self._consumer.unfinished
        return 0.0 if busy else IDLE_WAIT

    @property
    def _is_drained(self) -> bool:
        if self._drain_until is None:
            return False
        return not self._consumer.unfinished or time.monotonic() >= self._drain_until
