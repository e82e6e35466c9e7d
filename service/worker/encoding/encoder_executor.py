"""The threads of encoding: a thread for each modality beside the worker's loop.

Torch lets go of the interpreter while it computes, so tokens go on while media are encoded, and a long video holds no
picture back. A lane has one batch at a time: later media gather for the next. A thread that hangs cannot be ended from
here, so the worker that has one leaves (`EncoderStuck`), and no lane keeps its process from ending.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import numpy as np

from pandagpt_core.errors import EngineError, ModelFault, PandaGPTError
from pandagpt_core.interface import ServedModel
from pandagpt_core.types import Modality
from service.broker.protocol import Failed

log = logging.getLogger(__name__)
SPEECH = "speech"  # the lane of the recogniser
USUAL = 1000.0  # the largest number that a sound medium's array holds, with room: 100 g of a motion sensor
TOO_LARGE = Failed(code="invalid_media", message=f"a medium holds numbers beyond {USUAL:g}, too large for the encoder")
BAD_WEIGHTS = Failed(
    code=ModelFault.code, message="the encoder gives numbers that are not finite: its weights are at fault"
)
BAD_ARRAY = Failed(code="internal_error", message="a medium could not be encoded")


@dataclass(frozen=True, slots=True)
class Encoded:
    """Result for each name of a batch, and the seconds that it took."""

    modality: str
    embeddings: Mapping[str, np.ndarray]
    failures: Mapping[str, Failed]
    seconds: float


T = TypeVar("T")
EncodeTask = tuple[Future[Any], Callable[[], Any]]


class EncoderStuck(Exception):
    """A batch has been encoded for longer than the limit. It never reaches a caller: it ends the worker."""


class EncoderExecutor(Protocol):
    def submit(self, lane: str, work: Callable[[], T]) -> Future[T]:
        """Do the work when the lane is free: a modality's, or `SPEECH`. The future runs from then on."""
        ...

    def close(self, patience: float) -> bool:
        """Wait at most `patience` seconds for running batches. Returns whether all lanes stand still."""
        ...


class ThreadEncoderExecutor:
    """A thread a lane, started when it is first needed; daemons, so that a process may end though one hangs."""

    def __init__(self) -> None:
        self._tasks: dict[str, SimpleQueue[EncodeTask | None]] = {}
        self._threads: list[threading.Thread] = []

    def submit(self, lane: str, work: Callable[[], T]) -> Future[T]:
        if lane not in self._tasks:
            self._tasks[lane] = SimpleQueue()
            thread = threading.Thread(target=_do_all, args=(self._tasks[lane],), name=f"encode-{lane}", daemon=True)
            self._threads.append(thread)
            thread.start()
        future: Future[T] = Future()
        self._tasks[lane].put((future, work))
        return future

    def close(self, patience: float) -> bool:
        for tasks in self._tasks.values():
            tasks.put(None)
        limit = time.monotonic() + patience
        for lane in self._threads:
            lane.join(max(0.0, limit - time.monotonic()))
        return not any(lane.is_alive() for lane in self._threads)


def _do_all(tasks: SimpleQueue[EncodeTask | None]) -> None:
    while (task := tasks.get()) is not None:
        future, work = task
        future.set_running_or_notify_cancel()  # a stage's limit counts from here: its lane may have other work first
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  the worker's loop raises it
            future.set_exception(error)


def encoded(runtime: ServedModel, modality: Modality, arrays: Mapping[str, np.ndarray]) -> Encoded:
    """All at once; where that fails, one by one, so that only the bad ones fail. Raises nothing."""
    begun = time.perf_counter()
    failures: dict[str, Failed] = {}
    embeddings = _embed(runtime, modality, arrays, failures)
    return Encoded(modality, embeddings, failures, time.perf_counter() - begun)


def _embed(
    runtime: ServedModel, modality: Modality, arrays: Mapping[str, np.ndarray], failures: dict[str, Failed]
) -> dict[str, np.ndarray]:
    try:
        embeddings = dict(zip(arrays, runtime.encode(modality, list(arrays.values())), strict=True))
    except Exception as error:  # noqa: BLE001  whatever a model raises for one medium must not end the worker
        if len(arrays) == 1:
            failures.update(dict.fromkeys(arrays, failure_of(error)))
            return {}
        parts = [_embed(runtime, modality, {name: array}, failures) for name, array in arrays.items()]
        return {name: embedding for part in parts for name, embedding in part.items()}
    bad = [name for name, embedding in embeddings.items() if not np.isfinite(embedding).all()]
    failures.update({name: _blamed(modality, arrays[name]) for name in bad})
    return {name: embedding for name, embedding in embeddings.items() if name not in bad}


def _blamed(modality: Modality, array: np.ndarray) -> Failed:
    """The failure for an output that is not finite: the medium's fault where its numbers are out of proportion."""
    if not (np.abs(array) <= USUAL).all():
        return TOO_LARGE
    log.error("the encoder of %s gives numbers that are not finite: its weights are at fault", modality)
    return BAD_WEIGHTS


def failure_of(error: Exception) -> Failed:
    """The failure for the caller. Faults of the model go to the log too."""
    if isinstance(error, EngineError):
        log.error("the model failed: %s", error.message)
    if isinstance(error, PandaGPTError):
        return Failed(code=error.code, message=error.message, param=error.param)
    log.error("a medium could not be encoded", exc_info=error)
    return BAD_ARRAY
