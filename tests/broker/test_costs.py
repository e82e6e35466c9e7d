"""The store's cost of a request, a token and a look at the queue: counted in its own commands, not in time."""

import pytest

from pandagpt_core.types import SamplingParams
from service.broker.connection import connect
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.worker.priority_queue import PriorityQueue
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.wire import generate, run

MODEL = "fake"


def commands(valkey: Valkey) -> dict[str, int]:
    """Calls by command since the store started, those inside scripts among them."""
    stats = valkey.client.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(figures["calls"]) for name, figures in stats.items()}


def since(valkey: Valkey, before: dict[str, int]) -> dict[str, int]:
    now = commands(valkey)
    grown = {name: calls - before.get(name, 0) for name, calls in now.items()}
    return {name: calls for name, calls in grown.items() if calls and name not in ("info", "config|resetstat")}


@pytest.mark.parametrize("priority", ["interactive", "batch"])
async def test_a_look_at_ones_place_costs_the_same_in_a_queue_of_1_and_of_200(
    broker: Broker, valkey: Valkey, priority: str
) -> None:
    """The worker is one that lives and takes nothing, so that the store has no commands but ours."""
    _announce(valkey)
    costs, places = [], []
    for _ in range(2):
        request = generate(priority=priority)
        await broker.submit(request)
        before = commands(valkey)
        places.append((await broker.state(request.id, request.tenant)).position)
        costs.append(since(valkey, before))
        for _ in range(99):
            await broker.submit(generate("x" * 1000))
            await broker.submit(generate("x" * 1000, priority="batch"))
    assert costs[0] == costs[1]
    assert costs[0]["xrange"] == 1  # of the request's own events; no entry of a queue is read
    assert places == ([1, 101] if priority == "interactive" else [1, 200])


async def test_those_that_were_given_to_a_worker_are_before_nobody(broker: Broker, valkey: Valkey) -> None:
    _announce(valkey)
    requests = [generate() for _ in range(5)]
    for request in requests:
        await broker.submit(request)
    waiting = Keys().waiting(MODEL, "interactive")
    store = connect(valkey.settings)
    lane = PriorityQueue(store, Keys(), valkey.settings, MODEL, "interactive", "w")
    lane.ensure_group()
    assert len(lane.read(3)) == 3
    store.close()
    places = [(await broker.state(request.id, request.tenant)).position for request in requests]
    assert places == [None, None, None, 1, 2]
    assert valkey.client.zcard(waiting) == 2


async def test_a_token_costs_a_few_commands_and_none_that_grow(broker: Broker, valkey: Valkey) -> None:
    """The difference of a long answer and a short one has no commands of once a request."""
    spent = []
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.002)):
        for tokens in (20, 120):
            before = commands(valkey)
            await run(broker, generate(params=SamplingParams(max_tokens=tokens, ignore_eos=True)))
            spent.append(since(valkey, before))
    long, short = spent[1], spent[0]
    each = {name: (long.get(name, 0) - short.get(name, 0)) / 100 for name in long}
    assert each["xadd"] <= 1.01
    assert each.get("xread", 0.0) <= 1.1
    assert sum(calls for name, calls in each.items() if name not in ("xread", "xadd")) <= 5.5, each


async def test_a_request_costs_the_store_a_fixed_number_of_commands(broker: Broker, valkey: Valkey) -> None:
    """The write is one script, with any number of waiting requests."""
    _announce(valkey)
    counts = []
    for _ in range(3):
        before = commands(valkey)
        await broker.submit(generate())
        counts.append(since(valkey, before))
    assert counts[1] == counts[2]
    assert counts[1]["eval"] == 1
    assert sum(counts[1].values()) <= 22, counts[1]  # one EVAL and what it calls


def _announce(valkey: Valkey) -> None:
    """A worker that is ready for a while."""
    seconds, _ = valkey.client.time()
    valkey.client.zadd(Keys().ready(MODEL), {"w": (seconds + 600) * 1000})
