"""Clients that leave: all notices of a moment together, on a connection of their own, once each."""

import asyncio
import dataclasses
import time
from typing import Any

from msgspec.structs import replace

from pandagpt_core.types import SamplingParams
from service.broker.connection import AsyncStore
from service.broker.gateway.client import Broker
from service.broker.gateway.departures import Departures, _Departure
from service.broker.gateway.readers import RequestReaders
from service.broker.keys import Keys
from service.broker.protocol import Done
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.wire import answer, collect, ends_of, generate, text_of, until

LONG = SamplingParams(max_tokens=1000, ignore_eos=True)


def cancels(valkey: Valkey) -> list[str]:
    return [fields[b"id"].decode() for _, fields in valkey.client.xrange(Keys().cancels("fake"))]


async def test_a_hundred_leave_while_every_connection_of_the_pool_is_in_use(valkey: Valkey) -> None:
    settings = valkey.settings.model_copy(update={"pool": 1})
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05), max_sequences=2, prefetch=0):
        broker = Broker.connect(settings)
        records = [
            await broker.submit(generate(str(number), params=LONG, deadline=time.time() + 300)) for number in range(100)
        ]
        busy = asyncio.create_task(broker._store.xread({"nothing": "$"}, block=0))
        await until(lambda: any(one["cmd"] == "xread" for one in valkey.client.client_list()))
        async with asyncio.timeout(20):
            left = await asyncio.gather(*(broker.leave(record) for record in records))
        assert not busy.done()
        assert sorted(cancels(valkey)) == sorted(record.id for record in records)
        assert {readers.now for readers in left if readers is not None} == {0}
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        for record in records:
            (end,) = ends_of([event async for events in broker.follow(record) for event in events])
            assert isinstance(end, Done)
            assert end.cancelled
        await broker.close()
    assert valkey.client.xlen(Keys().queue("fake", "interactive")) == 0


async def test_the_last_reader_s_departure_cancels_and_no_other(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05)):
        record = await broker.submit(generate())
        await RequestReaders(broker._store, Keys(), 60).attach(record.id, "a")
        first = await broker.leave(record)
        assert first is not None
        assert (first.now, cancels(valkey)) == (1, [])
        await broker.leave(record)
        assert cancels(valkey) == [record.id]


async def test_a_request_with_a_grace_is_left_to_its_gateway(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        request = generate()
        left = await broker.leave(await broker.submit(request, grace_s=30.0))
        assert left is not None
        assert (left.now, left.grace_s, cancels(valkey)) == (0, 30.0, [])
        assert text_of(await collect(broker, request)) == answer(request)


async def test_a_departure_that_is_sent_twice_counts_once(broker: Broker, valkey: Valkey) -> None:
    """A departure is sent again where the store's answer was lost."""
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05)):
        record = await broker.submit(generate())
        await RequestReaders(broker._store, Keys(), 60).attach(record.id, "a")
        departure = _Departure(record)
        await broker._departures._send_all([departure, departure])
        assert int(valkey.client.hget(Keys().record(record.id), "readers")) == 1
        assert cancels(valkey) == []


async def test_two_departures_that_are_both_sent_twice_count_once_each(broker: Broker, valkey: Valkey) -> None:
    """All of a moment travel together, so one lost answer repeats them all."""
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05)):
        record = await broker.submit(generate())
        for name in "ab":
            await RequestReaders(broker._store, Keys(), 60).attach(record.id, name)
        both = [_Departure(record), _Departure(record)]
        await broker._departures._send_all(both)
        await broker._departures._send_all(both)
        assert int(valkey.client.hget(Keys().record(record.id), "readers")) == 1
        assert cancels(valkey) == []


async def test_a_reader_comes_once_and_not_after_it_left(broker: Broker, valkey: Valkey) -> None:
    """The store may get a coming twice, or after its reader's departure."""
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05)):
        record = await broker.submit(generate())
        readers, name = RequestReaders(broker._store, Keys(), 60), Keys().record(record.id)
        for _ in range(2):
            await readers.attach(record.id, "a")
        await broker.leave(dataclasses.replace(record, reader="b"))
        await readers.attach(record.id, "b")
        assert valkey.client.hmget(name, "readers", "attached") == [b"2", b"2"]
        await broker.leave(dataclasses.replace(record, reader="a"))
        assert valkey.client.hget(name, "readers") == b"1"
        assert cancels(valkey) == []


async def test_a_record_forgets_departures_that_nobody_repeats(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05)):
        record = await broker.submit(generate())
        await RequestReaders(broker._store, Keys(), 60).attach(record.id, "a")
        long_ago = {f"left:{number}": round(time.time()) - 3600 for number in range(150)}
        valkey.client.hset(Keys().record(record.id), mapping=long_ago)
        await broker.leave(record)
        left = [name for name in valkey.client.hkeys(Keys().record(record.id)) if name.startswith(b"left:")]
        assert len(left) == 1


async def test_a_departure_waits_for_a_store_that_is_away(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05)):
        record = await broker.submit(generate())
        valkey.client.config_set("maxmemory", "1")
        try:
            left = broker.leave(record)
            await asyncio.sleep(0.1)
            assert not left.done()
        finally:
            valkey.client.config_set("maxmemory", "0")
        assert await left is not None
        assert cancels(valkey) == [record.id]


async def test_a_submit_that_was_given_up_is_refused_when_it_comes_late(broker: Broker, valkey: Valkey) -> None:
    request = generate()
    broker._departures.submit(request)
    await until(lambda: valkey.client.hexists(Keys().record(request.id), "cancelled"))
    assert await broker.was_refused(request.id)
    assert 0 < valkey.client.ttl(Keys().record(request.id)) <= 60


async def test_another_submit_of_the_same_id_is_left_alone(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        request = generate()
        await broker.submit(request)
        broker._departures.submit(replace(request, created=request.created + 1))
        await broker._departures.close()
        assert cancels(valkey) == []
        assert text_of(await collect(broker, request)) == answer(request)


class CountingStore:
    """The store, and how many pipelines were sent to it."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self.pipelines = 0

    def pipeline(self, transaction: bool) -> Any:
        self.pipelines += 1
        return self._store.pipeline(transaction=transaction)


async def test_readers_noticed_over_a_few_turns_of_the_loop_leave_by_one_round_trip(
    broker: Broker, valkey: Valkey
) -> None:
    store, left = CountingStore(broker._store), []
    departures = Departures(store, Keys(), broker._records, broker._terminal)  # type: ignore[arg-type]
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05), max_sequences=2, prefetch=0):
        records = [await broker.submit(generate(str(number), params=LONG)) for number in range(100)]
        for number, record in enumerate(records):
            left.append(departures.reader(record))
            if number % 10 == 9:
                await asyncio.sleep(0)
        await asyncio.gather(*left)
        assert store.pipelines == 1
        assert sorted(cancels(valkey)) == sorted(record.id for record in records)
