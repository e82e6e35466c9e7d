"""Three sentinels, each a process: a majority elects the one that promotes the replica, and clients follow."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from service.broker.connection import STORE_ERRORS, connect
from service.broker.gateway.client import Broker
from service.broker.protocol import Event
from tests.broker.followed import LONG, WITHIN, answered, followed_to_the_end
from tests.broker.replicated import NAME, Replicated, answers_within, replicated, sentinel_name
from tests.chaos.house import until as until_condition
from tests.fakes import FakeRuntime, worker_thread
from tests.wire import answer, ends_of, generate, text_of, until

SENTINELS = 3


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Replicated]:
    with replicated(tmp_path, SENTINELS) as made:
        yield made


async def test_an_answer_outlives_master_and_sentinel_and_its_loss_is_counted(store: Replicated) -> None:
    """Two of three sentinels vote. The replica lacks the last entries, which the worker counts as it restores them."""
    broker = Broker.connect(store.settings)
    with worker_thread(store.settings, FakeRuntime(step_delay=0.02), lost_after_s=5.0) as worker:
        running = generate(params=LONG)
        record = await broker.submit(running)
        got: list[Event] = []
        reading = asyncio.create_task(followed_to_the_end(broker, record, got))
        await until(lambda: len(got) >= 5)
        store.cut_off_replica()
        reached = len(got)
        await until(lambda: len(got) >= reached + 10)
        store.kill(sentinel_name(1))
        store.kill("master")
        await reading
        assert text_of(got) == answer(running)
        assert len(ends_of(got)) == 1
        assert worker.registry.get_sample_value("pandagpt_event_entries_restored_total")
        after = generate()
        assert await answered(broker, after) == answer(after)
    await broker.close()
    _agree_on_the_replica(store, [0, 2])


def test_only_a_majority_promotes_and_then_clients_follow(store: Replicated) -> None:
    client = connect(store.settings)
    client.set("pandagpt:before", b"1")
    assert client.wait(1, 5000) == 1
    store.kill(sentinel_name(1))
    store.kill(sentinel_name(2))
    store.kill("master")
    with store.sentinel(0) as alone, store.client(1) as replica:
        until_condition(lambda: _down(alone), "a sentinel that misses the master", WITHIN)
        assert "o_down" not in str(alone.sentinel_master(NAME)["flags"]), "one of three is no majority"
        assert replica.info("replication")["role"] == "slave"
        with pytest.raises(STORE_ERRORS):
            client.set("pandagpt:probe", b"1")
    store.start_sentinel(1)
    answers_within(client, WITHIN)
    assert client.get("pandagpt:before") == b"1"
    client.close()
    _agree_on_the_replica(store, [0, 1])


def _down(sentinel: redis.Redis) -> bool:
    return bool(sentinel.sentinel_master(NAME)["is_sdown"])


def _agree_on_the_replica(store: Replicated, living: list[int]) -> None:
    """All living sentinels name the same master, by the same election."""
    for number in living:
        with store.sentinel(number) as sentinel:
            until_condition(lambda: sentinel.sentinel_master(NAME)["port"] == store.ports[1], "the election", WITHIN)
    epochs = {_epoch(store, number) for number in living}
    assert len(epochs) == 1
    assert epochs.pop() >= 1


def _epoch(store: Replicated, number: int) -> int:
    with store.sentinel(number) as sentinel:
        return int(sentinel.sentinel_master(NAME)["config-epoch"])
