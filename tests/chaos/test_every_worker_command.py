"""No window between two writes of a worker: harm is done at each of its store commands in turn.

A path is a row of `PATHS`. The worker `near` reaches the store through a proxy that cuts, stops or kills at command 1,
then at command 2, and so on until the path has no such command; `far` reaches it directly and takes over what a killed
one held. However it goes, each token is published once and in order, the request has one end, and nothing stays in the
queue.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from pandagpt_core.types import SamplingParams
from service.broker.connection import SyncStore, connect, connect_async
from service.broker.errors import StoreUnavailable, UnknownRequest
from service.broker.event_log import events_of
from service.broker.gateway.client import Broker
from service.broker.gateway.request_record import RequestRecord
from service.broker.keys import GROUP, Keys
from service.broker.protocol import Done, Event, Failed, Generate, Released, Token
from service.broker.worker.consumer import Consumer
from service.broker.worker.delivery import Delivery
from service.settings import StoreSettings
from tests.chaos.store_proxy import HARMS, UNTIL_IT_LEAVES, Harm, StoreProxy, store_proxy
from tests.conftest import Valkey
from tests.wire import ends_of, generate

TOKENS = 2
ENDLESS = 200  # tokens: after any harm, a cancel comes long before the last of them
LOST_AFTER_S = 0.05  # silence after which a request is taken over
TIMEOUT_S = 0.4
MOST = 60  # commands of one path; more would be a path that never ends
KEYS = Keys()
QUEUE = KEYS.queue("fake", "interactive")


class Worker:
    """A worker without a model, turn by turn: takes a request, publishes the numbers of its tokens, ends it."""

    def __init__(self, settings: StoreSettings, name: str, lost_after_s: float = LOST_AFTER_S) -> None:
        self._store: SyncStore = connect(settings)
        self.consumer = Consumer(self._store, settings, "fake", name, lost_after_s, claim_every_s=0.0)
        self._opened = False
        self.running: dict[str, Delivery] = {}
        self._next: dict[str, int] = {}

    def turn(self) -> None:
        """As the worker's loop: a store that fails is tried again at the next turn."""
        with suppress(StoreUnavailable):
            if not self._opened:
                self.consumer.open()
                self._opened = True
            for delivery in list(self.running.values()):
                self._publish(delivery)
            outcome = self.consumer.exchange(1, 0)
            for name in outcome.flushed.lost:
                self.running.pop(name, None)
            for name in outcome.flushed.cancelled & set(self.running):
                self._end(self.running[name], Done(cancelled=True, at=time.time()))
            for delivery in outcome.taken:
                self.running[delivery.request.id] = delivery
                told = [event for event in delivery.history.events if isinstance(event, Token)]
                self._next[delivery.request.id] = len(told)

    def hand_back(self) -> None:
        with suppress(StoreUnavailable):
            self.consumer.hand_back(list(self.running))
        self.running.clear()

    def _publish(self, delivery: Delivery) -> None:
        request, number = delivery.request, self._next[delivery.request.id]
        assert isinstance(request, Generate)
        if number >= request.params.max_tokens:
            self._end(delivery, Done(at=time.time()))
        else:
            delivery.writer.add(Token(choice=0, token_id=number, text=f" {number}"))
            self._next[request.id] += 1

    def _end(self, delivery: Delivery, end: Done) -> None:
        if not delivery.writer.ended:
            delivery.writer.add(end)
        self.running.pop(delivery.request.id, None)

    def close(self) -> None:
        self._store.close()


@dataclass
class Stage:
    """`broker` is a gateway that nothing harms."""

    near: Worker
    far: Worker
    broker: Broker
    proxy: StoreProxy
    store: Any
    settings: StoreSettings

    async def turn(self) -> None:
        """Of `near` while it lives, else of the worker that takes over."""
        worker = self.far if self.proxy.died.is_set() else self.near
        await asyncio.to_thread(worker.turn)

    async def running(self, tokens: int = TOKENS) -> RequestRecord:
        """A request in the middle of its answer; harm is counted from there."""
        self.proxy.counts = False
        record = await self.broker.submit(asked(tokens))
        await self.until(lambda: any(isinstance(event, Token) for event in self.events(record)))
        self.proxy.counts = True
        return record

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await self.turn()

    def events(self, record: RequestRecord) -> tuple[Event, ...]:
        return events_of(self.store.xrange(KEYS.events(record.id)))

    def is_settled(self) -> bool:
        return bool(self.store.xlen(QUEUE) == 0)

    def check_tokens(self, record: RequestRecord) -> Event:
        """Each once, in order; the one end."""
        events = self.events(record)
        told = [event.token_id for event in events if isinstance(event, Token)]
        assert told == list(range(len(told)))
        (end,) = ends_of(events)
        return end


def asked(tokens: int = TOKENS, life_s: float = 20.0) -> Generate:
    return generate(params=SamplingParams(max_tokens=tokens), deadline=time.time() + life_s)


async def serve(stage: Stage) -> None:
    """Claim, publish, end."""
    record = await stage.broker.submit(asked())
    await stage.until(stage.is_settled)
    assert isinstance(stage.check_tokens(record), Done)
    assert sum(isinstance(event, Token) for event in stage.events(record)) == TOKENS


async def take_over(stage: Stage) -> None:
    """From a worker that is silent in the middle of an answer, and comes back too late."""
    silent = Worker(stage.settings, "silent")
    record = await stage.broker.submit(asked())
    for _ in range(3):
        await asyncio.to_thread(silent.turn)
    await asyncio.sleep(2 * LOST_AFTER_S)
    await stage.until(stage.is_settled)
    await asyncio.to_thread(silent.turn)
    silent.close()
    assert isinstance(stage.check_tokens(record), Done)
    assert sum(isinstance(event, Token) for event in stage.events(record)) == TOKENS


async def cancel(stage: Stage) -> None:
    """While it runs."""
    record = await stage.running(ENDLESS)
    await stage.broker.cancel_record(record)
    await stage.until(stage.is_settled)
    end = stage.check_tokens(record)
    assert isinstance(end, Done)
    assert end.cancelled


async def cancelled_before(stage: Stage) -> None:
    """The mark came with nobody to note it: the worker finds it when it takes the request."""
    record = await stage.broker.submit(asked())
    stage.store.hset(KEYS.record(record.id), "cancelled", "1")
    await stage.until(stage.is_settled)
    end = stage.check_tokens(record)
    assert isinstance(end, Done)
    assert end.cancelled


async def expired(stage: Stage) -> None:
    record = await stage.broker.submit(asked(life_s=0.05))
    await asyncio.sleep(0.06)
    await stage.until(stage.is_settled)
    assert isinstance(stage.check_tokens(record), Failed)


async def hand_back(stage: Stage) -> None:
    """A worker that drains; another goes on."""
    record = await stage.running()
    await asyncio.to_thread(stage.near.hand_back)
    async with asyncio.timeout(20):
        while not stage.is_settled():
            await asyncio.to_thread(stage.far.turn)
    assert isinstance(stage.check_tokens(record), Done)
    assert sum(isinstance(event, Token) for event in stage.events(record)) == TOKENS


async def bury(stage: Stage) -> None:
    """An entry that cannot be read becomes one dead letter."""
    entry = stage.store.xadd(QUEUE, {"request": b"\x00nonsense", "cost": 1})
    stage.store.zadd(KEYS.waiting("fake", "interactive"), {entry: 0})
    await stage.until(stage.is_settled)
    assert stage.store.xlen(KEYS.dead("fake")) == 1
    stage.store.delete(KEYS.dead("fake"))


PATHS: tuple[Callable[[Stage], Coroutine[Any, Any, None]], ...] = (
    serve,
    take_over,
    cancel,
    cancelled_before,
    expired,
    hand_back,
    bury,
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a killed process closes no connection
@pytest.mark.timeout(300)
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
async def test_harm_at_each_store_command_of_a_worker_loses_nothing(
    path: Callable[[Stage], Coroutine[Any, Any, None]], harm: Harm, valkey: Valkey
) -> None:
    socket = valkey.url.removeprefix("unix://")
    broker = Broker(connect_async(valkey.settings), valkey.settings, from_zero=("fake",))
    far = Worker(valkey.settings, "far")
    done = 0
    for at in range(1, MOST):
        async with store_proxy(socket, at, harm, UNTIL_IT_LEAVES) as (proxy, url):
            own = valkey.settings.model_copy(update={"url": url, "command_timeout_s": TIMEOUT_S})
            near = Worker(own, f"near-{at}")
            await path(Stage(near, far, broker, proxy, valkey.client, valkey.settings))
            near.close()
            count = proxy.count
        assert valkey.client.xpending(QUEUE, GROUP)["pending"] == 0
        assert valkey.client.get(KEYS.load("fake", "interactive")) in (None, b"0")
        assert valkey.client.zcard(KEYS.waiting("fake", "interactive")) == 0
        assert valkey.client.xlen(KEYS.dead("fake")) == 0
        if count < at:
            break
        done = at
    assert 1 < done < MOST - 1
    far.close()
    await broker.close()


async def leave_to_another(stage: Stage) -> None:
    """A worker that drains, and has turns left."""
    record = await stage.running()
    await asyncio.to_thread(stage.near.hand_back)
    async with asyncio.timeout(20):
        while not stage.is_settled():
            with suppress(StoreUnavailable):
                await asyncio.to_thread(stage.near.consumer.flush)
            await asyncio.to_thread(stage.far.turn)
    assert isinstance(stage.check_tokens(record), Done)
    assert sum(isinstance(event, Token) for event in stage.events(record)) == TOKENS
    assert sum(isinstance(event, Released) for event in stage.events(record)) == 1


@pytest.mark.parametrize("path", [serve, leave_to_another], ids=lambda path: path.__name__)
@pytest.mark.parametrize("harm", ["cut", "answer lost", "stopped"])
async def test_a_worker_that_lives_lets_nobody_wait_for_its_silence(
    harm: Harm, path: Callable[[Stage], Coroutine[Any, Any, None]], valkey: Valkey
) -> None:
    """An hour of it would be needed for another, or itself, to take a request over."""
    socket, done = valkey.url.removeprefix("unix://"), 0
    broker = Broker(connect_async(valkey.settings), valkey.settings, from_zero=("fake",))
    far = Worker(valkey.settings, "far", lost_after_s=3600.0)
    for at in range(1, MOST):
        async with store_proxy(socket, at, harm, UNTIL_IT_LEAVES) as (proxy, url):
            own = valkey.settings.model_copy(update={"url": url, "command_timeout_s": TIMEOUT_S})
            near = Worker(own, f"near-{at}", lost_after_s=3600.0)
            await path(Stage(near, far, broker, proxy, valkey.client, valkey.settings))
            near.close()
        if not proxy.harmed:
            break
        done = at
    assert 1 < done < MOST - 1
    far.close()
    await broker.close()


async def test_a_deleted_request_is_not_run_anew_for_the_worker_that_died(valkey: Valkey) -> None:
    """Nothing of its answer comes into the store again."""
    broker = Broker(connect_async(valkey.settings), valkey.settings, from_zero=("fake",))
    dead, far = Worker(valkey.settings, "dead"), Worker(valkey.settings, "far")
    record = await broker.submit(asked())
    await asyncio.to_thread(dead.turn)
    assert dead.running
    await broker.cancel_record(record)
    await broker.delete(record)
    assert valkey.client.hkeys(KEYS.record(record.id)) == [b"cancelled"]
    async with asyncio.timeout(20):
        while valkey.client.exists(KEYS.events(record.id)):
            await asyncio.sleep(0.05)
        while valkey.client.xlen(QUEUE):
            await asyncio.to_thread(far.turn)
    (end,) = ends_of(events := events_of(valkey.client.xrange(KEYS.events(record.id))))
    assert isinstance(end, Done)
    assert end.cancelled
    assert not any(isinstance(event, Token) for event in events)
    with pytest.raises(UnknownRequest):
        await broker.find(record.id, record.tenant)
    for worker in (dead, far):
        worker.close()
    await broker.close()
