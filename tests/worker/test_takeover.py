"""Workers that die, hang or leave while they run a request: one stream, no token lost or twice, one end."""

import asyncio
import os
import pickle
import signal
import subprocess
import time
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from pandagpt_core.types import SamplingParams
from service.broker import protocol
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.protocol import Done, Event, Failed, Generate, Token
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_process, worker_thread
from tests.wire import answer, collect, each, ends_of, generate, media, run, text_of, until

QUEUE = Keys().queue("fake", "interactive")
DEAD = Keys().dead("fake")
LONG = SamplingParams(max_tokens=60, ignore_eos=True)
FAST = {"heartbeat_s": 0.1, "lost_after_s": 0.4}


async def read_some(broker: Broker, request: Generate, count: int) -> list[Event]:
    """The first `count` events, as they come."""
    found: list[Event] = []
    async with aclosing(each(broker, request)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_a_killed_workers_request_goes_on_elsewhere_word_for_word(broker: Broker, valkey: Valkey) -> None:
    part, array = media(1)
    request = generate(media=[part], params=LONG, n=2)
    with worker_process(valkey.settings, step_delay=0.02, **FAST) as process:
        await broker.submit(request, {part.blob: array})
        before = await read_some(broker, request, 12)
        process.send_signal(signal.SIGKILL)
        with worker_thread(valkey.settings, **FAST) as second:
            events = await collect(broker, request)
    assert events[: len(before)] == before
    for choice in range(2):
        assert text_of(events, choice) == answer(request, [array], choice)
        ids = [event.token_id for event in events if isinstance(event, Token) and event.choice == choice]
        assert len(ids) == 60
    assert ends_of(events) == [events[-1]]
    assert isinstance(events[-1], Done)
    assert events[-1].completion_tokens == 120
    assert second.runtime.encoded == {}  # the dead worker's embedding is in the store
    state = await broker.state(request.id, request.tenant)
    assert state.attempts == 2
    assert valkey.client.xlen(QUEUE) == 0
    assert second.registry.get_sample_value("pandagpt_takeovers_total") == 1


async def test_a_worker_that_slept_is_fenced_off(broker: Broker, valkey: Valkey) -> None:
    request = generate(params=LONG)
    with worker_process(valkey.settings, step_delay=0.02, **FAST) as sleeper:
        await broker.submit(request)
        await read_some(broker, request, 5)
        sleeper.send_signal(signal.SIGSTOP)
        with worker_thread(valkey.settings, FakeRuntime(step_delay=0.02), **FAST) as second:
            await until(lambda: second.runtime.has_work, what="the takeover")
            sleeper.send_signal(signal.SIGCONT)
            events = await collect(broker, request)
            await asyncio.sleep(0.3)  # time for the old one to do harm
            assert await collect(broker, request) == events
        assert sleeper.poll() is None
        assert text_of(events) == answer(request)
        assert ends_of(events) == [events[-1]]
        again = generate("and now")  # the old worker is as good as new
        assert text_of(await run(broker, again)) == answer(again)
        # The answer is read before the worker has taken its entry off the queue.
        await until(lambda: valkey.client.xlen(QUEUE) == 0, what="the empty queue")


async def test_a_request_that_kills_every_worker_is_given_up_and_kept(broker: Broker, valkey: Valkey) -> None:
    request = generate("FAULT-CRASH", params=LONG, deadline=time.time() + 300)
    processes: list[subprocess.Popen[bytes]] = []
    with worker_process(valkey.settings, step_delay=0.0, **FAST) as first:
        await broker.submit(request)
        await asyncio.to_thread(first.wait, 60)
    for _ in range(2):
        with worker_process(valkey.settings, step_delay=0.0, **FAST) as process:
            await asyncio.to_thread(process.wait, 60)
            processes.append(process)
    with worker_thread(valkey.settings, **FAST) as survivor:
        neighbour = generate("an innocent")
        await broker.submit(neighbour)
        events = await collect(broker, request)
        assert text_of(await collect(broker, neighbour)) == answer(neighbour)
        assert not survivor.errors
    assert isinstance(events[-1], Failed)
    assert events[-1].code == "worker_lost"
    assert ends_of(events) == [events[-1]]
    assert text_of(events) == answer(request)[: len(text_of(events))]
    assert all(process.returncode == -signal.SIGKILL for process in processes)
    ((_, letter),) = valkey.client.xrange(DEAD)
    assert letter[b"reason"] == b"worker_lost"
    assert request.id.encode() in letter[b"request"]
    assert valkey.client.xlen(QUEUE) == 0


class Planted:
    """The code that a pickle would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return (os.mkdir, (str(self.mark),))


async def test_a_planted_pickle_never_runs_and_ends_in_the_dead_letters(
    broker: Broker, valkey: Valkey, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    planted = [pickle.dumps(Planted(mark)), b"", b"\xc1", b"\x93" * 100_000, b"\x81\xa4type\xa7unknown"]
    with worker_thread(valkey.settings, **FAST) as worker:
        for payload in planted:
            valkey.client.xadd(QUEUE, {"request": payload})
        valkey.client.xadd(QUEUE, {"something": "else"})
        request = generate()
        assert text_of(await run(broker, request)) == answer(request)
        await until(lambda: valkey.client.xlen(DEAD) == len(planted) + 1)
        assert not worker.errors
    assert not mark.exists()
    letters = [fields for _, fields in valkey.client.xrange(DEAD)]
    assert [letter[b"request"] for letter in letters] == [*planted, b""]
    assert all(letter[b"reason"].startswith(b"undecodable") for letter in letters)
    assert valkey.client.xlen(QUEUE) == 0
    assert valkey.client.get(Keys().load("fake", "interactive")) is None


async def test_a_request_of_a_newer_version_hears_of_it(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05), max_sequences=1, prefetch=0) as worker:
        running = generate()
        await broker.submit(running)
        await until(lambda: worker.runtime.has_work)
        newer = generate()
        await broker.submit(newer)
        (entry,) = [key for key, fields in valkey.client.xrange(QUEUE) if newer.id.encode() in fields[b"request"]]
        valkey.client.xdel(QUEUE, entry)
        valkey.client.xadd(QUEUE, {"request": msgspec.msgpack.encode({"type": "generate.v9", "id": newer.id})})
        (end,) = await collect(broker, newer)
        assert isinstance(end, Failed)
        assert end.code == "internal_error"


@pytest.mark.parametrize("grace", [0.0, 0.1])
async def test_a_draining_worker_hands_back_and_another_goes_on_at_once(
    broker: Broker, valkey: Valkey, grace: float
) -> None:
    request = generate(params=LONG, deadline=time.time() + 600)
    slow = {"heartbeat_s": 2.0, "lost_after_s": 3600.0}  # silence would be noticed far too late
    with worker_process(valkey.settings, step_delay=0.02, drain_grace_s=grace, **slow) as leaving:
        await broker.submit(request)
        await read_some(broker, request, 6)
        with worker_thread(valkey.settings, FakeRuntime(step_delay=0.002), **slow):
            leaving.send_signal(signal.SIGTERM)
            events = await collect(broker, request, timeout=90)
            assert await asyncio.to_thread(leaving.wait, 60) == 0
            assert (await broker.registry.models())["fake"].ready == 1
    assert text_of(events) == answer(request)
    assert ends_of(events) == [events[-1]]
    (group,) = valkey.client.xinfo_groups(QUEUE)
    assert group["pending"] == 0


async def test_handing_back_never_counts_as_a_loss(broker: Broker, valkey: Valkey) -> None:
    request = generate(params=LONG)
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.02)) as first:
        await broker.submit(request)
        await until(lambda: first.runtime.has_work)
        first.drain(0)
    for _ in range(5):
        with worker_thread(valkey.settings, FakeRuntime(step_delay=0.02)) as next_one:
            await until(lambda: next_one.runtime.has_work)
            next_one.drain(0)
    with worker_thread(valkey.settings):
        events = await collect(broker, request)
    assert text_of(events) == answer(request)
    assert isinstance(events[-1], Done)


async def test_a_drained_worker_lets_what_runs_end_within_the_grace(broker: Broker, valkey: Valkey) -> None:
    request = generate()
    with worker_process(valkey.settings, step_delay=0.02, drain_grace_s=10) as process:
        await broker.submit(request)
        await read_some(broker, request, 2)
        process.send_signal(signal.SIGTERM)
        events = await collect(broker, request)
        assert await asyncio.to_thread(process.wait, 5) == 0
    assert text_of(events) == answer(request)
    assert (await broker.state(request.id, request.tenant)).attempts == 1


async def test_a_crash_between_the_end_and_settling_leaves_one_end(broker: Broker, valkey: Valkey) -> None:
    request = generate()
    with worker_thread(valkey.settings):
        events = await run(broker, request)
    # As if the worker had died just before it settled: the entry is still there, held by nobody alive.
    valkey.client.xadd(QUEUE, {"request": protocol.encode(request), "cost": "100"})
    valkey.client.set(Keys().load("fake", "interactive"), 100)
    valkey.client.xreadgroup("workers", "dead-worker", {QUEUE: ">"})
    with worker_thread(valkey.settings, **FAST) as second:
        await until(lambda: valkey.client.xlen(QUEUE) == 0, what="settling")
        assert not second.runtime.aborted
    assert await collect(broker, request) == events
    assert valkey.client.get(Keys().load("fake", "interactive")) is None


async def test_long_steps_do_not_look_like_death(broker: Broker, valkey: Valkey) -> None:
    request = generate(params=SamplingParams(max_tokens=2))
    beats = {"heartbeat_s": 0.1, "lost_after_s": 0.8}
    with worker_thread(valkey.settings, FakeRuntime(step_delay=1.2), **beats) as slow:
        await broker.submit(request)
        await until(lambda: slow.runtime.has_work)
        with worker_thread(valkey.settings, **beats):  # would take over at once if it could
            events = await collect(broker, request)
    assert text_of(events) == answer(request)
    assert (await broker.state(request.id, request.tenant)).attempts == 1
