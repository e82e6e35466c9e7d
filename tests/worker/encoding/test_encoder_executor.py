"""An encoder that hangs: noticed, its requests taken over, its worker gone; one that was merely stopped goes on."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import redis
from prometheus_client import CollectorRegistry

from pandagpt_core.errors import InvalidRequest, ModelFault, PandaGPTError
from pandagpt_core.types import Modality, SamplingParams
from service.broker.errors import Draining
from service.broker.event_log import EventHistory, EventWriter
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.media_cache import EmbeddingCache
from service.broker.protocol import Done, Failed
from service.broker.worker.delivery import Delivery
from service.metrics import WorkerMetrics
from service.settings import StoreSettings, environment
from service.worker.encoding.encode_stage import LONGEST_LOOK, Batcher, EncodeStage
from service.worker.encoding.encoder_executor import Encoded, EncoderStuck, ThreadEncoderExecutor, failure_of
from service.worker.jobs import Job
from tests.conftest import ROOT, Valkey
from tests.fakes import FakeRuntime, WorkerThread, worker_thread
from tests.wire import answer, collect, ends_of, generate, media, run, text_of, until

BEATS = {"heartbeat_s": 0.1, "lost_after_s": 60.0}  # silence would be noticed far too late
LABELS = {"modality": "video"}


class HangingRuntime(FakeRuntime):
    """Encodes no video before `go` is set, which a test does when it is over."""

    def __init__(self, **options: float) -> None:
        super().__init__(**options)
        self.begun, self.go = threading.Event(), threading.Event()

    def encode(self, modality: Modality, arrays: list[np.ndarray]) -> list[np.ndarray]:
        if modality is Modality.VIDEO:
            self.begun.set()
            assert self.go.wait(60)
        return super().encode(modality, arrays)


@pytest.fixture
def hanging() -> Iterator[HangingRuntime]:
    runtime = HangingRuntime(step_delay=0.02)
    yield runtime
    runtime.go.set()


def error_of(worker: WorkerThread) -> BaseException:
    (error,) = worker.errors
    return error


async def test_a_request_whose_encoder_hangs_is_answered_elsewhere_and_counts_as_lost(
    broker: Broker, valkey: Valkey, hanging: HangingRuntime
) -> None:
    part, film = media(1, Modality.VIDEO)
    request = generate(media=[part])
    with worker_thread(valkey.settings, hanging, encode_limit_s=0.3, **BEATS) as hung:
        await broker.submit(request, {part.blob: film})
        assert await asyncio.to_thread(hanging.begun.wait, 10)
        with worker_thread(valkey.settings, **BEATS):
            assert text_of(await collect(broker, request)) == answer(request, [film])
            await asyncio.to_thread(hung.join)  # though its lane still hangs
    assert isinstance(error_of(hung), EncoderStuck)
    assert "video" in str(error_of(hung))
    assert (await broker.state(request.id, request.tenant)).attempts == 2
    assert hung.registry.get_sample_value("pandagpt_encode_busy_seconds", LABELS) >= 0.3


async def test_what_runs_beside_a_hung_encoder_ends_and_nothing_new_is_taken(
    broker: Broker, valkey: Valkey, hanging: HangingRuntime
) -> None:
    part, film = media(1, Modality.VIDEO)
    spoken = generate(params=SamplingParams(max_tokens=120, ignore_eos=True))
    slow = generate(media=[part])
    with worker_thread(valkey.settings, hanging, encode_limit_s=0.4, drain_grace_s=30.0, **BEATS) as hung:
        await broker.submit(spoken)
        await broker.submit(slow, {part.blob: film})
        assert await asyncio.to_thread(hanging.begun.wait, 10)
        await until(lambda: valkey.client.zcard(Keys().ready("fake")) == 0, what="readiness gone")
        assert hung.thread.is_alive()
        with pytest.raises(Draining):
            await broker.submit(generate())
        with worker_thread(valkey.settings, **BEATS):
            for request, arrays in (slow, [film]), (spoken, []):
                assert text_of(await collect(broker, request)) == answer(request, arrays)
    assert (await broker.state(spoken.id, spoken.tenant)).attempts == 1
    assert isinstance(error_of(hung), EncoderStuck)


async def test_a_medium_that_hangs_every_worker_is_given_up(broker: Broker, valkey: Valkey) -> None:
    part, film = media(1, Modality.VIDEO)
    request = generate(media=[part])
    for number in range(valkey.settings.max_deliveries):
        with worker_thread(valkey.settings, runtime := HangingRuntime(), encode_limit_s=0.1, **BEATS) as worker:
            if number == 0:
                await broker.submit(request, {part.blob: film})
            await asyncio.to_thread(worker.join)
        runtime.go.set()
    with worker_thread(valkey.settings, **BEATS):
        events = await collect(broker, request)
    (end,) = ends_of(events)
    assert isinstance(end, Failed)
    assert end.code == "worker_lost"


async def test_an_encoder_that_is_slow_within_its_limit_is_left_alone(broker: Broker, valkey: Valkey) -> None:
    part, array = media(1)
    with worker_thread(valkey.settings, FakeRuntime(encode_delay=0.3), encode_limit_s=30.0) as worker:
        for _ in range(2):
            (*_, end) = await run(broker, generate(media=[part]), {part.blob: array})
            assert isinstance(end, Done)
        assert worker.registry.get_sample_value("pandagpt_encode_busy_seconds", {"modality": "image"}) == 0.0
    assert not worker.errors


class HeldLanes:
    """Takes work, begins it unless other work is before it, and never ends it."""

    def __init__(self, begins: bool = True) -> None:
        self._begins = begins

    def submit(self, modality: Modality, work: Callable[[], Encoded]) -> Future[Encoded]:
        held = Future[Encoded]()
        if self._begins:
            held.set_running_or_notify_cancel()
        return held

    def close(self, patience: float) -> bool:
        raise AssertionError("nobody leaves here")


class Arrays(EmbeddingCache):
    """Has the array of every medium and no embedding."""

    def embeddings(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        return {}

    def arrays(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        return dict.fromkeys(names, np.zeros(1, np.float32))


def held(lanes: HeldLanes, clock: Callable[[], float]) -> tuple[EncodeStage, Job]:
    """A stage with a limit of 20 seconds, and the job of a picture in it."""
    cache, metrics = Arrays(redis.Redis(), Keys(), StoreSettings()), WorkerMetrics.on(CollectorRegistry())
    stage = EncodeStage(FakeRuntime(), cache, Batcher(size=1), lanes, metrics, limit=20.0, clock=clock)
    part, _ = media(1)
    job = Job.of(Delivery(generate(media=[part]), "interactive", b"1-0", EventWriter("events", 2), EventHistory(())))
    stage.add(job)
    return stage, job


def test_the_time_that_a_process_was_stopped_is_no_time_of_its_encoders() -> None:
    now = 0.0
    intake, job = held(HeldLanes(), lambda: now)
    intake.encode()
    now += 3600.0  # stopped, then let go on
    intake.encode()
    assert not intake.stuck
    while now < 3600.0 + 20.0 - LONGEST_LOOK:
        assert not intake.stuck
        now += 1.0
        intake.encode()
    assert intake.stuck == (Modality.IMAGE,)
    assert intake.held_up() == [job]


def test_the_time_before_a_lane_begins_a_batch_is_no_time_of_the_batch() -> None:
    """Speech in a chat and a transcription share a lane."""
    now = 0.0
    intake, _ = held(HeldLanes(begins=False), lambda: now)
    while now < 100.0:
        now += 1.0
        intake.encode()
    assert intake.running
    assert not intake.stuck


def test_lanes_that_hang_are_not_waited_for_beyond_the_patience() -> None:
    go, lanes = threading.Event(), ThreadEncoderExecutor()
    result = lanes.submit(Modality.VIDEO, lambda: Encoded(Modality.VIDEO, {}, {}, float(go.wait(60))))
    begun = time.monotonic()
    assert not lanes.close(0.1)
    assert time.monotonic() - begun < 10
    go.set()
    assert lanes.close(30)
    assert result.result(0).seconds == 1.0


def test_what_a_lane_raises_comes_to_whoever_asked() -> None:
    lanes = ThreadEncoderExecutor()

    def broken() -> Encoded:
        raise MemoryError("no room")

    with pytest.raises(MemoryError):
        lanes.submit(Modality.IMAGE, broken).result(10)
    assert lanes.close(10)


HUNG_WORKER = """
import sys, time
from service.settings import load
from service.worker.main import operated, serve
from tests.fakes import FakeRuntime

class Hanging(FakeRuntime):
    def encode(self, modality, arrays):
        time.sleep(600)

with operated(load({})) as (registry, health):
    sys.exit(serve(load({}), Hanging(), registry, health))
"""


async def test_a_worker_process_whose_encoder_hangs_ends_with_an_error(
    broker: Broker, valkey: Valkey, tmp_path: Path
) -> None:
    part, array = media(1)
    worker = {"encode_limit_s": 0.3, "model": tmp_path, **BEATS}
    env = environment({"store": {"url": valkey.url, "namespace": valkey.settings.namespace}, "worker": worker})
    command = [sys.executable, "-c", HUNG_WORKER]
    process = subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), **env}, stderr=subprocess.PIPE)
    try:
        await until(lambda: valkey.client.zcard(Keys().ready("fake")), timeout=60, what="the announcement")
        await broker.submit(generate(media=[part]), {part.blob: array})
        _, said = await asyncio.to_thread(process.communicate, timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert b"encode_limit_s" in said


@pytest.mark.parametrize(("error", "logged"), [(ModelFault("the tower is at fault"), 1), (InvalidRequest("yours"), 0)])
def test_the_models_faults_go_to_the_log_and_the_callers_do_not(
    error: PandaGPTError, logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the model itself finds it: in encoding, in a unit vector, in writing speech down."""
    failed = failure_of(error)
    assert (failed.code, failed.message) == (error.code, error.message)
    assert sum(error.message in record.message for record in caplog.records) == logged
