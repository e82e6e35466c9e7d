"""Speech to text: sounds window by window beside the worker's loop, a window of each in turn.

The text of a window is published as it is done. A worker that takes such a request over goes on behind the windows that
were published, for the state of a recogniser follows from them.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial

from pandagpt_core.speech.base import HeardWindow, Recogniser, Samples, SpeechState, is_over
from service.broker.errors import StoreUnavailable
from service.broker.media_cache import EmbeddingCache
from service.broker.protocol import Done, Failed, Heard, Started, Transcribe
from service.metrics import WorkerMetrics
from service.worker.encoding.encode_stage import GONE, LONGEST_LOOK
from service.worker.encoding.encoder_executor import SPEECH, EncoderExecutor, failure_of
from service.worker.jobs import Job

log = logging.getLogger(__name__)
NO_RECOGNISER = Failed(code="invalid_request", message="this worker writes down no speech", param="model")
PATIENCE = 1.0  # seconds that a window which ran too long may still take when the worker leaves


@dataclass(slots=True, eq=False)
class SpeechJob:
    """A request's sound and how far it is written down."""

    job: Job
    request: Transcribe
    samples: Samples
    state: SpeechState


@dataclass(slots=True, eq=False)
class RunningWindow:
    """The window in the recogniser's hands. `seconds`: it has taken so long."""

    speech: SpeechJob
    result: Future[HeardWindow]
    begun: float
    seconds: float = 0.0


class SpeechStage:
    """`jobs` are those that still wait for a window. A window that takes longer than `limit` seconds is stuck."""

    def __init__(
        self,
        recogniser: Recogniser | None,
        cache: EmbeddingCache,
        executor: EncoderExecutor,
        metrics: WorkerMetrics,
        limit: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recogniser, self._cache, self._executor = recogniser, cache, executor
        self._metrics, self._limit, self._clock = metrics, limit, clock
        self.jobs: dict[str, SpeechJob] = {}
        self.running: RunningWindow | None = None
        self._turns: deque[str] = deque()
        self._looked = clock()

    def add(self, job: Job) -> None:
        """Add a job; one with no sound left ends at once. Raises StoreUnavailable; then it is not here."""
        request = job.delivery.request
        assert isinstance(request, Transcribe)
        if self._recogniser is None:
            job.end(NO_RECOGNISER)
            return
        samples = self._cache.arrays([request.sound.blob]).get(request.sound.blob)
        if samples is None or samples.dtype != "<i2":
            job.end(GONE)
            return
        state = SpeechState()
        for event in job.delivery.history.events:
            if isinstance(event, Heard):
                state = state.after(event.window)
                job.heard_tokens += event.tokens
        job.entered_at = time.time()
        if not job.announced:
            job.announced = True
            job.delivery.writer.add(Started(at=time.time(), prompt_tokens=0))
        self._go_on(SpeechJob(job, request, samples.reshape(-1), state))

    def hear(self, wait_s: float = 0.0) -> None:
        """Publish the window that is done, which is waited for so long, and begin another one."""
        if self.running is not None and wait_s:
            wait([self.running.result], wait_s)
        self._age()
        window = self.running
        self._metrics.encode_busy.labels(SPEECH).set(0.0 if window is None else window.seconds)
        if window is not None and window.result.done():
            self.running = None
            self._take_in(window)
        if self.running is None and self._turns:
            self._begin(self.jobs[self._turns.popleft()])

    @property
    def context_tokens(self) -> int:
        """Of what is written down of a sound, the most that a chat's prompt holds."""
        return 0 if self._recogniser is None else self._recogniser.info.context_tokens

    @property
    def stuck(self) -> bool:
        return self.running is not None and not self.running.result.done() and self.running.seconds >= self._limit

    def held_up(self) -> list[Job]:
        """The jobs that wait for what hangs: all, for there is one recogniser."""
        return [one.job for one in self.jobs.values() if not one.job.ended]

    def close(self, patient: bool = True) -> bool:
        """Wait for the window in hand, unless it is stuck. Returns whether none runs."""
        if self.running is None:
            return True
        left = max(PATIENCE, self._limit - self.running.seconds) if patient and not self.stuck else PATIENCE
        wait([self.running.result], left)
        return self.running.result.done()

    def drop(self, job: Job) -> None:
        """Forget a job that ended or is another worker's now; one that ended needs its sound no more."""
        found = self.jobs.pop(job.id, None)
        if found is None:
            return
        if job.id in self._turns:
            self._turns.remove(job.id)
        if job.ended:
            try:
                self._cache.drop_array(found.request.sound.blob)
            except StoreUnavailable as error:  # its life ends by itself
                log.warning("a sound could not be dropped", extra={"error": error.code})

    def _go_on(self, speech: SpeechJob) -> None:
        self.jobs[speech.job.id] = speech
        if is_over(speech.samples, speech.state):
            speech.job.end(Done())
        else:
            self._turns.append(speech.job.id)

    def _begin(self, speech: SpeechJob) -> None:
        assert self._recogniser is not None, "without one no job is here"
        work = partial(self._recogniser.hear, speech.samples, speech.state, speech.request.options)
        self.running = RunningWindow(speech, self._executor.submit(SPEECH, work), time.perf_counter())

    def _take_in(self, window: RunningWindow) -> None:
        self._metrics.encode_seconds.labels(SPEECH).observe(time.perf_counter() - window.begun)
        self._metrics.encode_batch.labels(SPEECH).observe(1)
        speech, job = window.speech, window.speech.job
        if job.ended or job.id not in self.jobs:
            return
        error = window.result.exception()
        if error is not None:
            job.end(failure_of(error if isinstance(error, Exception) else RuntimeError(type(error).__name__)))
            return
        heard = Heard(window=window.result.result())
        job.first_token_at = job.first_token_at or time.time()
        job.heard_tokens += heard.tokens
        job.delivery.writer.add(heard)
        speech.state = speech.state.after(heard.window)
        self._go_on(speech)

    def _age(self) -> None:
        now = self._clock()
        passed, self._looked = min(now - self._looked, LONGEST_LOOK), now
        if self.running is not None and self.running.result.running():
            self.running.seconds += passed
