"""The store's part of a turn runs beside the model's step, and alone where there is none."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from pandagpt_core.types import SamplingParams, TokenOutput
from service.broker.errors import StoreUnavailable
from service.broker.gateway.client import Broker
from service.broker.worker.consumer import Consumer, Flushed
from service.broker.worker.delivery import Delivery
from service.metrics import WorkerMetrics
from service.worker.generation.engine_driver import EngineDriver
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.wire import answer, generate, run, text_of


class FakeConsumer(Consumer):
    """A store that cancels "a" and has no requests; `fails` names the method that it fails in."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.waits = fails, list[float]()

    def flush(self) -> Flushed:
        if self.fails == "flush":
            raise StoreUnavailable("away")
        return Flushed(cancelled=frozenset({"a"}))

    def take(self, _room: int, wait: float = 0.0) -> list[Delivery]:
        self.waits.append(wait)
        if self.fails == "take":
            raise StoreUnavailable("away")
        return []


def test_an_exchange_publishes_and_takes() -> None:
    consumer = FakeConsumer()
    assert consumer.exchange(4, 0.1).flushed.cancelled == {"a"}
    assert consumer.waits == [0.1]


@pytest.mark.parametrize(("fails", "cancelled"), [("flush", set()), ("take", {"a"})])
def test_what_the_store_gave_before_it_failed_is_kept(fails: str, cancelled: set[str]) -> None:
    done = FakeConsumer(fails).exchange(4, 0.1)
    assert done.flushed.cancelled == cancelled
    assert isinstance(done.error, StoreUnavailable)


@pytest.mark.parametrize("fails", [False, True])
def test_a_step_ends_after_the_work_beside_it_also_where_it_fails(fails: bool) -> None:
    begun, ended = threading.Event(), threading.Event()

    class Stepping(FakeRuntime):
        @property
        def has_work(self) -> bool:
            return True

        def step(self) -> list[TokenOutput]:
            begun.set()
            if fails:
                raise RuntimeError("broken")
            return []

    def beside() -> None:
        assert begun.wait(30), "the step did not run beside it"
        ended.set()

    driver = EngineDriver(Stepping(), WorkerMetrics.on(CollectorRegistry()))
    with ThreadPoolExecutor(1) as executor:
        driver.step(executor.submit(beside))
        assert ended.is_set()


async def test_the_loop_gives_the_store_its_turn_beside_every_step(broker: Broker, valkey: Valkey) -> None:
    @dataclass
    class Watching(FakeRuntime):
        """A step sees whether the store's thread was started for it: it is made when it is first given something."""

        alone: int = 0

        def step(self) -> list[TokenOutput]:
            self.alone += not any(thread.name.startswith("store") for thread in threading.enumerate())
            return super().step()

    with worker_thread(valkey.settings, runtime := Watching()):
        request = generate(params=SamplingParams(max_tokens=5, ignore_eos=True))
        assert text_of(await run(broker, request)) == answer(request)
    assert runtime.alone == 0
