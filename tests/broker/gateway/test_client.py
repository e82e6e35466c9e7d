import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from pandagpt_core.types import Modality, SamplingParams
from service.broker.connection import connect_async
from service.broker.errors import Draining, DuplicateRequest, NoWorker, Overloaded, UnknownRequest, WorkersSilent
from service.broker.event_log import events_of
from service.broker.gateway.client import Broker
from service.broker.gateway.event_reader import ReaderLimits
from service.broker.keys import SILENT_LIFE, Keys
from service.broker.protocol import Done, Failed, Fence, Started, Token, encode
from tests.conftest import Valkey
from tests.fakes import FAKE_INFO, FakeRuntime, worker_thread
from tests.wire import answer, collect, each, ends_of, fall_silent, generate, media, run, text_of, until


async def test_a_request_is_answered_with_its_own_text_and_one_end(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        request = generate("hello there")
        events = await run(broker, request)
    assert text_of(events) == answer(request)
    assert isinstance(events[0], Started)
    assert events[0].prompt_tokens == 2
    assert ends_of(events) == [events[-1]]
    assert isinstance(events[-1], Done)
    assert events[-1].completion_tokens == 8
    assert [event.finish for event in events if isinstance(event, Token)][-1] == "length"


async def test_choices_are_sequences_of_their_own_seed(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        request = generate(n=3)
        events = await run(broker, request)
    texts = [text_of(events, choice) for choice in range(3)]
    assert texts == [answer(request, choice=choice) for choice in range(3)]
    assert len(set(texts)) == 3
    assert len(ends_of(events)) == 1


async def test_reading_again_gives_the_same_events_from_any_place(broker: Broker, valkey: Valkey) -> None:
    other = Broker.connect(valkey.settings)
    with worker_thread(valkey.settings):
        request = generate()
        events = await run(broker, request)
        assert await collect(other, request) == events
        assert await collect(other, request) == events
    await other.close()


async def test_silence_is_told_as_often_as_asked_and_costs_no_event(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.2)):
        request = generate()
        await broker.submit(request)
        async with aclosing(broker.events(request.id, request.tenant, quiet_s=0.05)) as lists:
            heard = [events async for events in lists]
    assert sum(events == [] for events in heard) >= 8
    assert text_of([event for events in heard for event in events]) == answer(request)


async def test_events_that_wait_come_together(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        request = generate()
        whole = await run(broker, request)
        async with aclosing(broker.events(request.id, request.tenant)) as lists:
            heard = [events async for events in lists]
    assert heard == [whole]


async def test_without_a_worker_nothing_is_taken(broker: Broker, valkey: Valkey) -> None:
    request = generate()
    with pytest.raises(NoWorker) as caught:
        await broker.submit(request)
    assert caught.value.retry_after
    assert valkey.client.keys() == []
    with pytest.raises(UnknownRequest):
        await broker.state(request.id, request.tenant)


async def test_a_silent_worker_is_no_worker(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        await broker.capacity("fake")
        fall_silent(valkey.client, "fake")
        with pytest.raises(WorkersSilent):
            await broker.capacity("fake")
    with pytest.raises(NoWorker) as caught:
        await broker.capacity("fake")
    assert not isinstance(caught.value, WorkersSilent), "it signed off"
    valkey.client.zadd(Keys().ready("fake"), {"died": time.time() * 1000 - 1000 * SILENT_LIFE - 1})
    with pytest.raises(NoWorker) as caught:
        await broker.capacity("fake")
    assert not isinstance(caught.value, WorkersSilent), "it died long ago"


async def test_silent_models_are_those_that_may_be_back_in_a_moment(broker: Broker, valkey: Valkey) -> None:
    """And those that the store forgot. One that died long ago, or was never seen, is none of them."""
    other = FakeRuntime(info=dataclasses.replace(FAKE_INFO, id="other"))
    slow = {"heartbeat_s": 30.0, "lost_after_s": 60.0}
    with worker_thread(valkey.settings, **slow), worker_thread(valkey.settings, other, **slow):
        assert await _models_and_silent(broker) == ({"fake", "other"}, set())
        fall_silent(valkey.client, "other")
        await until_found(broker, {"fake"}, {"other"})
        valkey.client.zadd(Keys().ready("other"), dict.fromkeys(valkey.client.zrange(Keys().ready("other"), 0, -1), 1))
        await until_found(broker, {"fake"}, set())
        valkey.client.delete(Keys().models)
        await until_found(broker, set(), {"fake"})
        valkey.client.zadd(Keys().models, {"fake": 0})
        await until_found(broker, {"fake"}, set())


async def until_found(broker: Broker, models: set[str], silent: set[str]) -> None:
    async with asyncio.timeout(30):
        while await _models_and_silent(broker) != (models, silent):
            await asyncio.sleep(0.02)


async def _models_and_silent(broker: Broker) -> tuple[set[str], set[str]]:
    return set(await broker.registry.models()), set(broker.registry.silent)


async def test_a_full_queue_refuses_at_the_door(broker: Broker, valkey: Valkey) -> None:
    small = Broker.connect(valkey.settings.model_copy(update={"max_queue": 2}))
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.02), max_sequences=1, prefetch=0):
        running = generate(params=SamplingParams(max_tokens=1000, ignore_eos=True))
        await small.submit(running)
        await until(lambda: _waiting(valkey) == 0)
        first, second = generate(), generate()
        await small.submit(first)
        await small.submit(second)
        with pytest.raises(Overloaded, match="2 requests wait for fake; at most 2 may"):
            await small.submit(generate())
        batch = generate(priority="batch")
        await small.submit(batch)  # another lane
        states = [await small.state(request.id, request.tenant) for request in (running, first, second, batch)]
        assert [(state.status, state.position) for state in states] == [
            ("running", None), ("queued", 1), ("queued", 2), ("queued", 3),
        ]  # fmt: skip
        await small.cancel(running.id, running.tenant)
        assert text_of(await collect(small, first)) == answer(first)
        assert text_of(await collect(small, batch)) == answer(batch)
    await small.close()


async def test_bytes_are_bounded_and_given_back(broker: Broker, valkey: Valkey) -> None:
    part, array = media(1)
    tight = Broker.connect(valkey.settings.model_copy(update={"max_queue_bytes": 1000}))
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.01)):
        with pytest.raises(Overloaded, match="at most 1000 together"):
            await tight.submit(generate(media=[part]), {part.blob: array.repeat(100, axis=0)})
        request = generate(media=[part])
        await tight.submit(request, {part.blob: array})
        assert int(valkey.client.get(Keys().load("fake", "interactive"))) > array.nbytes
        await collect(tight, request)
        await until(lambda: valkey.client.get(Keys().load("fake", "interactive")) is None, what="the bytes given back")
        assert valkey.client.xlen(Keys().queue("fake", "interactive")) == 0
    await tight.close()


async def test_draining_workers_take_nothing_new(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.02)) as worker:
        running = generate()
        await broker.submit(running)
        await until(lambda: worker.runtime.has_work)
        worker.drain()
        await until(lambda: valkey.client.zcard(Keys().draining("fake")))
        with pytest.raises(Draining):
            await broker.submit(generate())
        assert text_of(await collect(broker, running)) == answer(running)


async def test_an_id_is_used_once(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        request = generate()
        await run(broker, request)
        with pytest.raises(DuplicateRequest):
            await broker.submit(request)


async def test_another_tenants_request_is_an_unknown_one(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        request = generate()
        await run(broker, request)
        for call in (broker.state, broker.cancel):
            with pytest.raises(UnknownRequest) as theirs:
                await call(request.id, "tenant-b")
            with pytest.raises(UnknownRequest) as nobodys:
                await call("no-such-request", "tenant-b")
            assert theirs.value.message == nobodys.value.message
        with pytest.raises(UnknownRequest):
            await anext(broker.events(request.id, "tenant-b"))
        assert (await broker.state(request.id, request.tenant)).status == "done"


async def test_a_waiting_request_that_is_cancelled_ends_at_once_and_frees_its_place(
    broker: Broker, valkey: Valkey
) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05), max_sequences=1, prefetch=0) as worker:
        running, waiting = generate(), generate()
        await broker.submit(running)
        await until(lambda: worker.runtime.has_work)
        await broker.submit(waiting)
        await broker.cancel(waiting.id, waiting.tenant)
        assert ends_of(await collect(broker, waiting)) == [await _only_event(broker, waiting)]
        assert (await broker.state(running.id, running.tenant)).status == "running", "it waited for its turn"
        assert (await broker.capacity("fake")).waiting == 0
        assert (await broker.state(waiting.id, waiting.tenant)).status == "cancelled"
        assert text_of(await collect(broker, running)) == answer(running)


async def test_the_notice_of_a_cancel_goes_out_before_any_answer_is_waited_for(broker: Broker, valkey: Valkey) -> None:
    """Until it is there the worker computes for nobody: with 100 readers gone at once, each round trip counts."""
    with worker_thread(valkey.settings, FakeRuntime()):
        record = await broker.submit(generate())
        seen: list[str] = []
        with valkey.client.monitor() as monitor:
            await broker.cancel_record(record)
            for command in monitor.listen():
                seen.append(command["command"])
                if seen[-1].startswith("XADD") and ":cancels:" in seen[-1]:
                    break
    assert any(line.startswith("HSET") and "cancelled" in line for line in seen)
    assert not any(line.startswith(("HGETALL", "HINCRBY")) for line in seen)


async def test_a_running_request_that_is_cancelled_stops_within_two_steps(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05)) as worker:
        request = generate(n=2)
        neighbour = generate("somebody else")
        await broker.submit(request)
        await broker.submit(neighbour)
        stream = Keys().events(request.id)
        heard = []
        async with aclosing(each(broker, request)) as events:
            async for event in events:
                heard.append(event)
                if len(heard) == 4:
                    await broker.cancel(request.id, request.tenant)
                    steps = valkey.client.xlen(stream)
        end = heard[-1]
        assert isinstance(end, Done)
        assert end.cancelled
        assert valkey.client.xlen(stream) - steps <= 3  # an entry a step: two steps at most, and the end
        assert sorted(worker.runtime.aborted) == [f"{request.id}/0", f"{request.id}/1"]
        assert text_of(await collect(broker, neighbour)) == answer(neighbour)
        await broker.cancel(request.id, request.tenant)  # again, and after the end: no harm
        assert len(ends_of(await collect(broker, request))) == 1


async def test_a_request_that_expires_in_the_queue_fails(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05), max_sequences=1, prefetch=0) as worker:
        running = generate()
        await broker.submit(running)
        await until(lambda: worker.runtime.has_work)
        late = generate(deadline=time.time() + 0.1)
        await broker.submit(late)
        (end,) = await collect(broker, late)
        assert isinstance(end, Failed)
        assert end.code == "deadline_exceeded"
        assert text_of(await collect(broker, running)) == answer(running)


async def test_a_running_request_ends_at_its_deadline(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05)) as worker:
        request = generate(deadline=time.time() + 0.3)
        events = await run(broker, request)
        assert ends_of(events) == [events[-1]]
        assert isinstance(events[-1], Failed)
        assert events[-1].code == "deadline_exceeded"
        assert text_of(events)
        await until(lambda: worker.runtime.aborted == [f"{request.id}/0"])


@pytest.fixture
async def impatient(valkey: Valkey) -> AsyncIterator[Broker]:
    """A broker whose readers check after a short silence whether an event can still come."""
    limits = ReaderLimits(silence_s=0.05, end_grace_s=0.1)
    broker = Broker(connect_async(valkey.settings), valkey.settings, reader_limits=limits)
    yield broker
    await broker.close()


async def test_a_reader_ends_a_request_that_every_worker_forgot(impatient: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, max_sequences=1, prefetch=0) as worker:
        worker.worker.drain(0)
        worker.join()
        valkey.client.zadd(Keys().ready("fake"), {"a-ghost": 4e12})
        request = generate(deadline=time.time() + 0.2)
        (end,) = await run(impatient, request)
        assert isinstance(end, Failed)
        assert end.code == "deadline_exceeded"
        assert valkey.client.xlen(Keys().queue("fake", "interactive")) == 0


async def test_a_reader_hears_when_the_store_lost_the_request(impatient: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.02)) as worker:
        request = generate()
        await impatient.submit(request)
        heard = []
        async with aclosing(each(impatient, request)) as events:
            async for event in events:
                heard.append(event)
                if len(heard) == 2:
                    valkey.client.flushall()
        assert isinstance(heard[-1], Failed)
        assert heard[-1].code == "store_unavailable"
        await until(lambda: not worker.runtime.has_work, what="the worker dropping the request")
        again = generate()
        await until(lambda: valkey.client.exists(Keys().ready("fake")), what="the next heartbeat")
        assert text_of(await run(impatient, again)) == answer(again)


async def test_a_request_that_fell_out_of_the_queue_without_an_end_fails(impatient: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05), max_sequences=1, prefetch=0) as worker:
        running, waiting = generate(), generate()
        await impatient.submit(running)
        await until(lambda: worker.runtime.has_work)
        await impatient.submit(waiting)
        valkey.client.xdel(Keys().queue("fake", "interactive"), (await impatient._records.find(waiting.id)).entry)
        (end,) = await collect(impatient, waiting)
        assert isinstance(end, Failed)
        assert end.code == "store_unavailable"
        assert await collect(impatient, waiting) == [end]
        assert text_of(await collect(impatient, running)) == answer(running)


async def test_a_reader_of_what_the_store_lost_hears_nothing_twice(broker: Broker, valkey: Valkey) -> None:
    """As after a crash of store and worker: the stream has fewer tokens than were told, and a new attempt goes on."""
    request = generate()
    key = Keys().events(request.id)
    with worker_thread(valkey.settings):
        whole = await run(broker, request)
    entries = valkey.client.xrange(key)
    heard = []
    async with aclosing(each(broker, request)) as events:
        valkey.client.delete(key)
        for entry, fields in entries[:7]:  # fence, start, five tokens
            valkey.client.xadd(key, fields, entry)
        async for event in events:
            heard.append(event)
            if len(heard) == 6:
                valkey.client.delete(key)
                for entry, fields in entries[:4]:
                    valkey.client.xadd(key, fields, entry)
                valkey.client.xadd(key, {"events": encode([Fence(worker="w2", at=1.0)])}, "2-0")
                for number, (_, fields) in enumerate(entries[4:], 1):
                    valkey.client.xadd(key, fields, f"2-{number}")
    assert heard == whole


async def test_a_reader_gets_the_rest_of_an_attempt_that_the_store_forgot(broker: Broker, valkey: Valkey) -> None:
    """As after a failover that lost the first fence: the ids begin anew, and a step may hold other events."""
    request = generate()
    key = Keys().events(request.id)
    with worker_thread(valkey.settings):
        whole = await run(broker, request)
    entries = valkey.client.xrange(key)
    events = events_of(entries[1:])
    got = []
    async with aclosing(each(broker, request)) as reading:
        valkey.client.delete(key)
        for entry, fields in entries[:7]:  # fence, start, five tokens
            valkey.client.xadd(key, fields, entry)
        async for event in reading:
            got.append(event)
            if len(got) == 6:
                valkey.client.delete(key)
                valkey.client.xadd(key, {"events": encode([Fence(worker="w2", at=1.0)])}, "1-0")
                for number in range(0, len(events), 2):  # two where the first worker wrote one
                    pair = encode(list(events[number : number + 2]))
                    valkey.client.xadd(key, {"events": pair}, f"1-{number // 2 + 1}")
                for client in valkey.client.client_list():
                    if client["name"] == "gateway":
                        valkey.client.client_kill_filter(_id=client["id"])
    assert got == whole


async def test_states_tell_usage_and_times(broker: Broker, valkey: Valkey) -> None:
    part, array = media(1)
    with worker_thread(valkey.settings):
        for cached in (0, 1):
            request = generate("one two", media=[part])
            await run(broker, request, {part.blob: array})
            state = await broker.state(request.id, request.tenant)
            assert (state.status, state.attempts, state.error) == ("done", 1, None)
            assert (state.prompt_tokens, state.completion_tokens, state.cached_items) == (3, 8, cached)
            times = [state.created, state.taken_at, state.started_at, state.first_token_at, state.finished_at]
            assert None not in times
            assert times == sorted(times)


async def test_models_tell_what_workers_announce(broker: Broker, valkey: Valkey) -> None:
    assert await broker.registry.models() == {}
    other = Broker.connect(valkey.settings)
    with worker_thread(valkey.settings, max_sequences=3), worker_thread(valkey.settings, max_sequences=4):
        model = (await other.registry.models())["fake"]
        assert (model.ready, model.draining, model.capacity) == (2, 0, 7)
        assert model.info == FakeRuntime().info
        assert await other.registry.models() is await other.registry.models()
    await other.close()


async def test_digests_of_towers_count_where_every_worker_states_them(broker: Broker, valkey: Valkey) -> None:
    """A worker of an earlier version knows its media by the whole encoder's digest alone."""
    newer = FakeRuntime(info=dataclasses.replace(FAKE_INFO, tower_digests={Modality.IMAGE: "image-tower"}))
    with worker_thread(valkey.settings, newer):
        with worker_thread(valkey.settings):
            mixed = (await broker.registry.models())["fake"].info
            assert mixed.digest_of(Modality.IMAGE) == FAKE_INFO.encoder_digest
        alone = Broker.connect(valkey.settings)
        assert (await alone.registry.models())["fake"].info.digest_of(Modality.IMAGE) == "image-tower"
        await alone.close()


async def test_a_submit_that_is_cut_off_is_cancelled(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.01)):
        request = generate(params=SamplingParams(max_tokens=500, ignore_eos=True))
        task = asyncio.create_task(broker.submit(request))
        while not valkey.client.exists(Keys().record(request.id)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        (end,) = ends_of(await collect(broker, request))
        assert isinstance(end, Done)
        assert end.cancelled


async def test_a_second_submit_of_an_id_that_is_cut_off_leaves_the_first_alone(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.02)):
        request = generate()
        await broker.submit(request)
        task = asyncio.create_task(broker.submit(replace(request, created=request.created + 1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert text_of(await collect(broker, request)) == answer(request)


async def test_an_admission_that_comes_after_its_submit_was_given_up_is_refused(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        request = generate()
        broker._records.mark(valkey.client, request.id, 60)
        with pytest.raises(DuplicateRequest):
            await broker.submit(request)
        assert valkey.client.xlen(Keys().queue("fake", "interactive")) == 0


async def _only_event(broker: Broker, request: object) -> object:
    (event,) = await collect(broker, request)  # type: ignore[arg-type]
    return event


def _waiting(valkey: Valkey) -> int:
    key = Keys().queue("fake", "interactive")
    return valkey.client.xlen(key) - valkey.client.xpending(key, "workers")["pending"]
