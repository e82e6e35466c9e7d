"""Callers take turns in the queue, whatever each of them has waiting there."""

from collections.abc import Iterator

import pytest

from service.broker.connection import SyncStore, connect
from service.broker.errors import Overloaded
from service.broker.gateway.client import Broker
from service.broker.keys import PRIORITIES, Keys
from service.broker.protocol import Request, request_decoder
from service.broker.worker.priority_queue import PriorityQueue, take, wait_for_any
from tests.conftest import Valkey
from tests.wire import generate

MODEL = "fake"


@pytest.fixture
def lanes(valkey: Valkey) -> Iterator[list[PriorityQueue]]:
    """A worker's lanes; another worker is announced and takes nothing."""
    valkey.client.zadd(Keys().ready(MODEL), {"a-worker": 4e12})
    store: SyncStore = connect(valkey.settings)
    made = [PriorityQueue(store, Keys(), valkey.settings, MODEL, lane, "w") for lane in PRIORITIES]
    for lane in made:
        lane.ensure_group()
    yield made
    store.close()


def taken(lanes: list[PriorityQueue], count: int) -> list[Request]:
    found = take(lanes[0]._store, lanes, count)
    return [request_decoder.decode(fields[b"request"]) for _, _, fields in found]


async def test_one_request_is_not_kept_waiting_behind_another_caller_s_150(
    broker: Broker, lanes: list[PriorityQueue]
) -> None:
    for _ in range(150):
        await broker.submit(generate(tenant="many"))
    assert [request.tenant for request in taken(lanes, 10)] == ["many"] * 10
    one = generate(tenant="one")
    await broker.submit(one)
    assert (await broker.state(one.id, "one")).position == 1
    assert [request.tenant for request in taken(lanes, 3)] == ["one", "many", "many"]
    assert len(taken(lanes, 1000)) == 138


async def test_without_keys_addresses_take_turns(broker: Broker, lanes: list[PriorityQueue]) -> None:
    """Everybody is one tenant there, and the gateway gives each address a share of its own."""
    for share, count in (("a", 40), ("b", 20), ("c", 2)):
        for _ in range(count):
            await broker.submit(generate(tenant="everybody", share=share))
    order = [request.share for request in taken(lanes, 62)]
    assert order[:6] == ["a", "b", "c"] * 2
    assert order[6:42] == ["a", "b"] * 18
    assert order[42:] == ["a"] * 20


async def test_callers_are_served_by_their_weights(broker: Broker, lanes: list[PriorityQueue]) -> None:
    for _ in range(40):
        await broker.submit(generate(tenant="light"))
    for _ in range(120):
        await broker.submit(generate(tenant="heavy"), weight=3.0)
    served = [request.tenant for request in taken(lanes, 160)]
    for count in range(4, 161, 4):
        assert served[:count].count("heavy") == pytest.approx(3 * count / 4, abs=1)


async def test_a_weight_below_one_waits_longer_and_takes_no_longer_alone(
    broker: Broker, lanes: list[PriorityQueue]
) -> None:
    for _ in range(5):
        await broker.submit(generate(tenant="slow"), weight=0.1)
    assert [request.tenant for request in taken(lanes, 2)] == ["slow"] * 2
    for _ in range(20):
        await broker.submit(generate(tenant="other"))
    served = [request.tenant for request in taken(lanes, 23)]
    assert served.index("slow") == pytest.approx(10, abs=1)
    assert served[-2:] == ["slow"] * 2


async def test_a_new_weight_counts_from_the_next_request_on(broker: Broker, lanes: list[PriorityQueue]) -> None:
    await broker.submit(generate(tenant="raised"), weight=0.1)
    await broker.submit(generate(tenant="raised"), weight=100.0)
    for _ in range(3):
        await broker.submit(generate(tenant="other"))
    assert sorted(request.tenant for request in taken(lanes, 3)) == ["other", "raised", "raised"]


async def test_each_caller_s_own_requests_keep_their_order(broker: Broker, lanes: list[PriorityQueue]) -> None:
    sent = [generate(tenant=tenant) for tenant in "aabbab"]
    for request in sent:
        await broker.submit(request)
    order = taken(lanes, 10)
    for tenant in "ab":
        assert [one.id for one in order if one.tenant == tenant] == [one.id for one in sent if one.tenant == tenant]


async def test_interactive_requests_still_come_first(broker: Broker, lanes: list[PriorityQueue]) -> None:
    await broker.submit(generate(tenant="b", priority="batch"))
    for _ in range(3):
        await broker.submit(generate(tenant="a"))
    assert [request.priority for request in taken(lanes, 4)] == ["interactive"] * 3 + ["batch"]


async def test_a_backlog_is_forgotten_when_nothing_waits(broker: Broker, lanes: list[PriorityQueue]) -> None:
    for _ in range(20):
        await broker.submit(generate(tenant="a"))
    assert len(taken(lanes, 100)) == 20
    await broker.submit(generate(tenant="a"))
    for _ in range(3):
        await broker.submit(generate(tenant="b"))
    assert [request.tenant for request in taken(lanes, 4)] == ["a", "b", "b", "b"]


@pytest.mark.parametrize("weight", [0.1, 1.0, 100.0])
async def test_a_full_queue_has_places_for_callers_with_few_requests(
    valkey: Valkey, lanes: list[PriorityQueue], weight: float
) -> None:
    """Few are few whatever the caller's weight."""
    broker = Broker.connect(valkey.settings.model_copy(update={"max_queue": 64}))
    for _ in range(56):
        await broker.submit(generate(tenant="many"), weight=weight)
    with pytest.raises(Overloaded):
        await broker.submit(generate(tenant="many"), weight=weight)
    for number in range(8):
        await broker.submit(generate(tenant=f"one-{number}"))
    with pytest.raises(Overloaded):
        await broker.submit(generate(tenant="late"))
    assert [request.tenant for request in taken(lanes, 9)].count("many") == 1
    await broker.close()


async def test_a_cancelled_request_gives_its_turn_up(broker: Broker, lanes: list[PriorityQueue]) -> None:
    requests = [generate(tenant="a") for _ in range(3)]
    records = [await broker.submit(request) for request in requests]
    await broker.cancel_record(records[0])
    assert (await broker.state(requests[1].id, "a")).position == 1
    assert [request.id for request in taken(lanes, 9)] == [requests[1].id, requests[2].id]


async def test_a_caller_with_a_backlog_is_not_forgotten_with_those_who_are_gone(
    valkey: Valkey, lanes: list[PriorityQueue]
) -> None:
    """The caller's next request would otherwise stand before its own earlier ones."""
    broker = Broker.connect(valkey.settings.model_copy(update={"max_queue": 16}))
    sent = [generate(tenant="heavy") for _ in range(4)]
    for request in sent[:3]:
        await broker.submit(request, weight=100.0)
    for number in range(80):
        await broker.submit(generate(tenant=f"passes-{number}"))
        assert taken(lanes, 1)[0].tenant != "heavy" or number == 0
    await broker.submit(sent[3], weight=100.0)
    order = [request.id for request in taken(lanes, 16) if request.tenant == "heavy"]
    assert order == [request.id for request in sent[1:]]
    await broker.close()


async def test_the_turns_of_callers_who_are_gone_are_forgotten(valkey: Valkey, lanes: list[PriorityQueue]) -> None:
    """Under load that never ends the queue is never empty, and each address leaves a turn behind."""
    broker = Broker.connect(valkey.settings.model_copy(update={"max_queue": 16}))
    for number in range(200):
        await broker.submit(generate(tenant=f"passes-{number}"))
        if number:  # one of them waits always
            assert len(taken(lanes, 1)) == 1
    assert valkey.client.hlen(Keys().turns(MODEL, "interactive")) <= 2 * 16 + 10
    await broker.close()


def test_an_entry_that_no_admission_wrote_is_taken_all_the_same(valkey: Valkey, lanes: list[PriorityQueue]) -> None:
    entry = valkey.client.xadd(lanes[0].key, {"request": b"r"})
    assert [found for _, found, _ in wait_for_any(lanes[0]._store, lanes, 5)] == [entry]
