"""The store's part of a turn runs beside the model's step, and alone where there is none."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import cast

import pytest

from pandagpt_core.types import SamplingParams, TokenOutput
from service.broker.errors import StoreUnavailable
from service.broker.gateway.client import Broker
from service.broker.worker.consumer import Consumer, Flushed
from service.broker.worker.delivery import Delivery
from service.worker.store_turn import StoreTurn
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.wire import answer, generate, run, text_of


@dataclass
class FakeConsumer:
    """`flush` waits for the step to begin; `patience` lists what `take` may wait; `fails` names what raises."""

    begun: threading.Event = field(default_factory=threading.Event)
    patience: list[float] = field(default_factory=list)
    fails: str = ""

    def flush(self) -> Flushed:
        assert self.begun.wait(30)
        if self.fails == "flush":
            raise StoreUnavailable("away")
        return Flushed(cancelled=frozenset({"a"}))

    def take(self, _room: int, wait: float) -> list[Delivery]:
        self.patience.append(wait)
        if self.fails == "take":
            raise StoreUnavailable("away")
        return []


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def turn(consumer: FakeConsumer, executor: ThreadPoolExecutor) -> StoreTurn:
    return StoreTurn(cast(Consumer, consumer), executor, 4, 0.1)


def test_it_runs_while_the_step_computes_and_then_waits_for_no_request(executor: ThreadPoolExecutor) -> None:
    consumer = FakeConsumer()
    with turn(consumer, executor) as made:
        consumer.begun.set()
    assert made.result().flushed.cancelled == {"a"}
    assert consumer.patience == [0.0]


def test_without_a_step_it_runs_once_and_may_wait_for_a_request(executor: ThreadPoolExecutor) -> None:
    consumer = FakeConsumer()
    consumer.begun.set()
    assert turn(consumer, executor).result().flushed.cancelled == {"a"}
    assert consumer.patience == [0.1]


@pytest.mark.parametrize(("fails", "cancelled"), [("flush", set()), ("take", {"a"})])
def test_what_the_store_gave_before_it_failed_is_kept(
    executor: ThreadPoolExecutor, fails: str, cancelled: set[str]
) -> None:
    consumer = FakeConsumer(fails=fails)
    with turn(consumer, executor) as made:
        consumer.begun.set()
    done = made.result()
    assert done.flushed.cancelled == cancelled
    assert isinstance(done.error, StoreUnavailable)


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
