"""Joining a runtime, a store and the numbers to a worker: `main` joins the real ones, tests join others."""

import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

from pandagpt_core.interface import ServedModel
from pandagpt_core.speech.base import Recogniser
from service.broker.connection import (
    SyncStore,
    check_mode,
    check_version,
    connect,
    server_info,
    store_errors,
)
from service.broker.errors import StoreRefused, StoreTooOld, StoreUnavailable
from service.broker.keys import Keys
from service.broker.media_cache import EmbeddingCache
from service.broker.permissions import WORKER, check_permitted, permitted
from service.broker.protocol import Announcement
from service.broker.worker.consumer import Consumer
from service.broker.worker.heartbeat import STALL_S, Heartbeat, HeldEntries
from service.metrics import WorkerMetrics
from service.settings import StoreSettings, WorkerSettings
from service.tracing import NoTracer, Tracer
from service.version import version
from service.worker.accounting import count_end
from service.worker.encoding.encode_stage import Batcher, EncodeStage
from service.worker.encoding.encoder_executor import ThreadEncoderExecutor
from service.worker.encoding.speech_stage import SpeechStage
from service.worker.loop import Worker, WorkerLimits
from service.worker.malloc_trim import MallocTrim

log = logging.getLogger(__name__)


@contextmanager
def assembled(
    runtime: ServedModel,
    store: StoreSettings,
    worker: WorkerSettings,
    metrics: WorkerMetrics,
    tracer: Tracer | None = None,
    recogniser: Recogniser | None = None,
    stall_s: float = STALL_S,
    malloc_trim: MallocTrim | None = None,
) -> Iterator[Worker]:
    """A worker that is ready to run, and its connections for as long. Without a recogniser it writes down no speech.

    stall_s: seconds without a turn of its loop after which its requests are left to others.

    Waits for a store that is away, since the load took minutes. Raises StoreRefused and StoreTooOld.
    """
    name = worker.name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    connection, beats = connect(store, name=name, reporting=True), connect(store, name=f"{name}-heartbeat")
    try:
        wait_for_store(store, check=partial(_check, connection))
        heartbeat = partial(Heartbeat, beats, Keys(store.namespace), stall_s=stall_s)
        yield _join(
            runtime, recogniser, store, worker, metrics, tracer or NoTracer(), name, connection, heartbeat, malloc_trim
        )
    finally:
        connection.close()
        beats.close()


def check_store(settings: StoreSettings) -> None:
    """Check that the store answers, is new enough, of the kind that the settings name, and lets its user do the work.

    Raises StoreUnavailable and its kinds.
    """
    with closing(connect(settings, name="worker-check")) as connection:
        _check(connection, settings)
        check_permitted(connection, WORKER, Keys(settings.namespace).probe)


def wait_for_store(
    settings: StoreSettings,
    pause_s: float = 1.0,
    repeat_s: float = 30.0,
    check: Callable[[StoreSettings], None] = check_store,
) -> None:
    """Return once the store can be used. One that is not there yet is waited for, with a line now and then.

    Raises StoreRefused and StoreTooOld: waiting mends neither.
    """
    logged_at = -math.inf
    while True:
        try:
            check(settings)
        except (StoreRefused, StoreTooOld):
            raise
        except StoreUnavailable as error:
            if time.monotonic() - logged_at > repeat_s:
                logged_at = time.monotonic()
                log.warning("the worker waits for the store", extra={"code": error.code, "reason": error.reason})
            time.sleep(pause_s)
        else:
            return


def _check(connection: SyncStore, settings: StoreSettings) -> None:
    with store_errors(), permitted("INFO"):
        info = server_info(connection.info("server"))
    warning = check_version(info)
    if warning:
        log.warning("the store should be upgraded", extra={"reason": warning})
    check_mode(info, settings.cluster)


def _join(
    runtime: ServedModel,
    recogniser: Recogniser | None,
    store: StoreSettings,
    worker: WorkerSettings,
    metrics: WorkerMetrics,
    tracer: Tracer,
    name: str,
    connection: SyncStore,
    beating: Callable[[Announcement, HeldEntries, float, float], Heartbeat],
    malloc_trim: MallocTrim | None,
) -> Worker:
    keys = Keys(store.namespace)
    counts = partial(count_end, metrics), metrics.restored_entries.inc
    consumer = Consumer(connection, store, runtime.info.id, name, worker.lost_after_s, *counts)
    cache = EmbeddingCache(connection, keys, store)
    batcher = Batcher(worker.encode_batch)
    executor = ThreadEncoderExecutor()
    encoding = EncodeStage(runtime, cache, batcher, executor, metrics, worker.encode_limit_s, recogniser=recogniser)
    speech = SpeechStage(recogniser, cache, executor, metrics, worker.encode_limit_s)
    address = f"{worker.metrics_host}:{worker.metrics_port}" if worker.metrics_port else None
    info = replace(runtime.info, speech=None if recogniser is None else recogniser.info)
    announcement = Announcement(
        worker=name,
        model=info,
        capacity=worker.max_sequences,
        metrics_address=address,
        version=version(),
    )
    heartbeat = beating(announcement, lambda: consumer.held, worker.heartbeat_s, worker.lost_after_s)
    limits = WorkerLimits(worker.max_sequences, worker.prefetch, worker.drain_grace_s)
    return Worker(runtime, consumer, encoding, speech, heartbeat, metrics, limits, tracer, malloc_trim)
