"""A worker process: load the model, serve it until SIGTERM has drained it."""

import hashlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from pandagpt_core import autotune
from pandagpt_core.autotune import AutotuneReport, Choices
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.interface import ServedModel
from pandagpt_core.speech.base import Recogniser
from pandagpt_core.speech.whisper import Whisper
from service.broker.errors import StoreUnavailable
from service.broker.queue_metrics import QueueMetrics
from service.metrics import WorkerMetrics
from service.metrics.process import DeviceMemory, DeviceMemoryCollector, register_process
from service.metrics.worker import Labelled
from service.settings import Settings, SettingsError, WorkerSettings
from service.tracing import make_tracer
from service.worker import huge_pages, trial
from service.worker.assembly import assembled, wait_for_store
from service.worker.encoding.encoder_executor import EncoderStuck
from service.worker.loop import Worker
from service.worker.malloc_trim import of_this_system as malloc_trim
from service.worker.ops_server import Health, ops_served
from service.worker.torch_threads import import_torch, let_threads_sleep

if TYPE_CHECKING:  # torch comes with it
    from pandagpt_core.loading import RuntimeOptions, VllmOptions

log = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Load the model and serve it until drained: as `serve`. The store is tried first: loading takes minutes."""
    try:
        wait_for_store(settings.store)
    except StoreUnavailable as error:
        log.error("the worker cannot use the store: %s", error.reason, extra={"code": error.code})
        return 1
    with operated(settings) as (registry, health):
        recogniser = load_recogniser(settings.worker)  # first: it is small, and may be what is wrong
        return serve(settings, load_runtime(settings.worker), registry, health, recogniser)


@contextmanager
def operated(settings: Settings) -> Iterator[tuple[CollectorRegistry, Health]]:
    """The registry of everything that this process shows, and its health, on the worker's own port."""
    registry, health = CollectorRegistry(), Health()
    register_process(registry, "worker")
    with ExitStack() as stack:
        if settings.worker.metrics_port:
            queues = QueueMetrics.connect(settings.store)
            stack.callback(queues.close)
            registry.register(queues)
        stack.enter_context(ops_served(settings.worker.metrics_host, settings.worker.metrics_port, registry, health))
        yield registry, health


def serve(
    settings: Settings,
    runtime: ServedModel,
    registry: CollectorRegistry,
    health: Health,
    recogniser: Recogniser | None = None,
) -> int:
    """Serve until drained: 0; 1 when the store refuses its work. A broken or dead engine raises.

    Where an encoder hangs the process ends here, with status 1: the usual end tears down what its thread still uses.
    """
    metrics = worker_metrics(registry, runtime.info.id)
    metrics.engine_info.labels(settings.worker.engine, _reserve(settings.worker)).set(1)
    registry.register(DeviceMemoryCollector(gpu_memory))

    def announced() -> None:
        health.begin(worker)
        log.info("the worker takes requests", extra={"model": runtime.info.id})

    try:
        with (
            closing(runtime),
            closing(make_tracer(settings.tracing, "worker")) as tracer,
            assembled(runtime, settings.store, settings.worker, metrics, tracer, recogniser) as worker,
            drained_by_signals(worker),
            huge_pages.kept(),
        ):
            worker.run(announced)
    except EncoderStuck as error:
        log.error("the worker ends: %s", error)
        logging.shutdown()
        os._exit(1)
    except StoreUnavailable as error:
        log.error("the worker cannot use the store: %s", error.reason, extra={"code": error.code})
        return 1
    log.info("the worker is drained")
    return 0


def load_runtime(settings: WorkerSettings, *, apart: bool = True) -> ServedModel:
    """The real runtime, which brings torch with it. apart: at a first start another process tries what suits it here.

    Raises CheckpointError for a folder that is not a model's, SettingsError for a device that is not here.
    """
    import_torch(settings.threads)
    from pandagpt_core.loading import check_device, load_model, pick_device  # takes seconds to import

    try:
        check_device(settings.device, settings.dtype)
        key = _choice_key(settings)
        known = _known(settings, key)
        if apart and not known and trial.pays(settings, pick_device(settings.device)) and trial.run(settings):
            known = _known(settings, key)
        choices = Choices(known)
        runtime = load_model(settings.model, runtime_options(settings), report=choices)
    except ValueError as error:
        raise SettingsError(f"worker: {error}") from None
    facts = {
        "model": runtime.info.id,
        "system": runtime.info.system,
        "precision": runtime.precision or "vLLM's choice",
        "runner": runtime.runner or "vLLM",
    }
    log.info("model loaded", extra=facts)
    malloc_trim()()  # loading and trying took several times what stays
    if settings.cache is not None:
        autotune.save(choices.reports, settings.cache, key)
    return runtime


def load_recogniser(settings: WorkerSettings) -> Recogniser | None:
    """Raises CheckpointError and DigestMismatch for a folder that is no recogniser's, or without pandagpt[speech]."""
    if settings.speech is None:
        return None
    let_threads_sleep()
    recogniser = Whisper(settings.speech, settings.threads)
    recogniser.info = replace(
        recogniser.info, context_tokens=settings.speech_tokens, context_seconds=settings.speech_seconds
    )
    log.info("recogniser loaded", extra={"model": recogniser.id})
    return recogniser


def _known(settings: WorkerSettings, key: str) -> Sequence[AutotuneReport]:
    """Choices of an earlier start under that key."""
    return () if settings.cache is None else autotune.saved(settings.cache, key)


def _choice_key(settings: WorkerSettings) -> str:
    """Key of all that the choices at load depend on. config.json holds the digests of all other files of the model."""
    config = settings.model / "config.json"
    digest = hashlib.sha256(config.read_bytes()).hexdigest() if config.is_file() else ""
    ours = (settings.device, settings.dtype, settings.runner, settings.threads, settings.engine)
    return autotune.machine_key(digest, *ours)


def runtime_options(settings: WorkerSettings) -> "RuntimeOptions":
    """The settings as options of the model's load."""
    from pandagpt_core.loading import RuntimeOptions  # takes seconds to import

    return RuntimeOptions(
        device=settings.device,
        dtype=settings.dtype,
        runner=settings.runner,
        max_sequences=settings.max_sequences,
        cache_tokens=settings.cache_tokens,
        step_tokens=settings.step_tokens,
        max_model_len=settings.max_model_len,
        engine=engine_config(settings),
        vllm=vllm_options(settings),
        cache=settings.cache,
    )


def engine_config(settings: WorkerSettings) -> EngineConfig:
    """The options of our engine beyond its sizes. Prefixes are kept in whole blocks."""
    plain = EngineConfig()
    prefix = settings.prefix_tokens
    return replace(
        plain,
        reserve=settings.reserve,
        prefix_blocks=None if prefix is None else -(-prefix // plain.block_size),
        batch_turn=settings.batch_turn,
        batch_share=settings.batch_share,
        speculative_tokens=settings.speculative_tokens,
    )


def vllm_options(settings: WorkerSettings) -> "VllmOptions | None":
    """vLLM in its place, where that is chosen."""
    from pandagpt_core.loading import VllmOptions  # takes seconds to import

    return VllmOptions(settings.vllm_cache, settings.vllm_options) if settings.engine == "vllm" else None


def _reserve(settings: WorkerSettings) -> str:
    return settings.reserve if settings.engine == "own" else "current"  # as vLLM does


def worker_metrics(registry: CollectorRegistry, model: str) -> WorkerMetrics:
    """The worker's metrics, on that registry under the model's name."""
    ours = CollectorRegistry()
    metrics = WorkerMetrics.on(ours)
    registry.register(Labelled(ours, {"model": model}))
    return metrics


def gpu_memory() -> Sequence[DeviceMemory]:
    """Of each CUDA device that torch, if it is loaded, has begun to use."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return ()
    return [_device_memory(torch.cuda, index) for index in range(torch.cuda.device_count())]


def _device_memory(cuda: Any, index: int) -> DeviceMemory:
    free, total = cuda.mem_get_info(index)
    return DeviceMemory(str(index), cuda.memory_allocated(index), total - free, total)


@contextmanager
def drained_by_signals(worker: Worker) -> Iterator[None]:
    """SIGTERM and SIGINT drain; a second one ends the grace."""
    signalled = False

    def drain(*_: object) -> None:
        nonlocal signalled
        worker.drain(0.0 if signalled else None)
        signalled = True

    before = {number: signal.signal(number, drain) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
