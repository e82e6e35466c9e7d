"""A failover, by real servers: clients follow the new master, running answers stay whole, nothing is doubled."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from prometheus_client import CollectorRegistry

from service.broker.connection import STORE_ERRORS, AsyncStore, connect, connect_async
from service.broker.errors import StoreRefused, StoreUnavailable
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.protocol import Event, Failed
from service.broker.queue_metrics import QueueMetrics
from service.broker.queue_stats import unreplicated
from service.settings import Settings, StoreSettings
from tests.broker.followed import LONG, WITHIN, answered, followed_to_the_end
from tests.broker.replicated import NAME, Replicated, answers_within, replicated
from tests.chaos.house import until as until_condition
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.gateway.conftest import serving
from tests.wire import answer, generate, text_of, until

CALLERS = 8


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Replicated]:
    with replicated(tmp_path) as made:
        yield made


async def test_clients_of_both_kinds_follow_the_new_master(store: Replicated) -> None:
    blocking, client = connect(store.settings), connect_async(store.settings)
    blocking.set("pandagpt:before", b"1")
    assert await client.get("pandagpt:before") == b"1"
    assert blocking.wait(1, 5000) == 1
    store.kill("master")
    answers_within(blocking, WITHIN)
    await _writes_within(client, WITHIN)
    assert await client.get("pandagpt:before") == b"1"
    blocking.close()
    await client.aclose()


def test_replicas_and_what_a_failover_would_lose_are_shown(store: Replicated) -> None:
    assert shown(store, "pandagpt_store_replicas") == 1
    store.processes["replica"].send_signal(signal.SIGSTOP)
    with store.client(0) as master:
        master.set("pandagpt:unseen", b"x" * 1000)
    assert 1000 <= (shown(store, "pandagpt_store_unreplicated_bytes") or 0) < 100_000
    store.processes["replica"].send_signal(signal.SIGCONT)
    with store.client(1) as replica, store.client(0) as master:
        replica.replicaof("NO", "ONE")
        until_condition(lambda: master.info("replication")["connected_slaves"] == 0, "the master's look", WITHIN)
    assert shown(store, "pandagpt_store_replicas") == 0
    assert shown(store, "pandagpt_store_unreplicated_bytes") == 0


def test_bytes_that_no_replica_acknowledged_are_counted() -> None:
    replicas = {"slave0": {"state": "online", "offset": 70}, "slave1": {"state": "online", "offset": 90}}
    joining = {"slave2": {"state": "wait_bgsave", "offset": 0}}
    node = {"master_repl_offset": 100, "connected_slaves": 3, **replicas, **joining}
    assert unreplicated(node) == 10
    assert unreplicated({"master_repl_offset": 100, "connected_slaves": 0}) == 0


def shown(store: Replicated, name: str) -> float | None:
    registry, queues = CollectorRegistry(), QueueMetrics.connect(store.settings)
    registry.register(queues)
    try:
        return registry.get_sample_value(name)
    finally:
        queues.close()


async def test_a_planned_failover_is_followed(store: Replicated) -> None:
    """The old master lives on as a replica, and refuses what is written to it."""
    client = connect_async(store.settings)
    await client.set("pandagpt:before", b"1")
    with store.sentinel() as sentinel:
        until_condition(lambda: _fails_over(sentinel), "a failover that the sentinel begins", WITHIN)
    store.wait_until_promoted()
    with store.client(0) as old, store.client(1) as new:
        until_condition(lambda: old.info("replication")["role"] == "slave", "the old master's new role", WITHIN)
        await _writes_within(client, WITHIN)
        assert new.get("pandagpt:probe") == b"1"
    await client.aclose()


def _fails_over(sentinel: redis.Redis) -> bool:
    try:
        return bool(sentinel.execute_command("SENTINEL FAILOVER", NAME))
    except redis.ResponseError:  # it has not yet seen that the replica is good
        return False


async def _writes_within(client: AsyncStore, seconds: float) -> None:
    limit = time.monotonic() + seconds
    while True:
        try:
            await client.set("pandagpt:probe", b"1")
            return
        except STORE_ERRORS:
            assert time.monotonic() < limit, f"no write within {seconds:g} seconds"
            await asyncio.sleep(0.05)


async def test_a_sentinel_s_wrong_password_and_a_wrong_name_are_told_apart(store: Replicated) -> None:
    for changed, kind in (
        ({"sentinel_password": "wrong"}, StoreRefused),
        ({"sentinel_master": "another"}, StoreUnavailable),
    ):
        broker = Broker.connect(StoreSettings(**{**store.settings.model_dump(exclude_unset=True), **changed}))
        with pytest.raises(StoreUnavailable) as caught:
            await broker.check()
        assert type(caught.value) is kind
        assert "127.0.0.1" not in caught.value.message
        assert "sentinel" in caught.value.advice
        await broker.close()


async def test_what_a_failover_loses_of_running_answers_is_written_again(store: Replicated) -> None:
    """The replica lacks the last entries of both answers; both come whole, and nothing comes twice."""
    broker = Broker.connect(store.settings)
    runtime = FakeRuntime(step_delay=0.02)
    with worker_thread(store.settings, runtime, lost_after_s=5.0) as worker:
        first, second = generate(params=LONG), generate("another", params=LONG)
        reading = []
        events: dict[str, list[Event]] = {first.id: [], second.id: []}

        for request in (first, second):
            record = await broker.submit(request)
            reading.append(asyncio.create_task(followed_to_the_end(broker, record, events[request.id])))
            await until(lambda got=events[request.id]: len(got) >= 5)
        store.cut_off_replica()
        seen = {name: len(got) for name, got in events.items()}
        await until(lambda: all(len(got) >= seen[name] + 10 for name, got in events.items()))
        store.kill("master")
        await asyncio.gather(*reading)
        for request in (first, second):
            assert text_of(events[request.id]) == answer(request)
        restored = worker.registry.get_sample_value("pandagpt_event_entries_restored_total")
        assert restored, "the store lost nothing, so nothing was shown"
        after = generate()
        assert await answered(broker, after) == answer(after)
    await broker.close()


async def test_a_request_that_the_failover_lost_ends_as_store_unavailable(store: Replicated) -> None:
    broker = Broker.connect(store.settings)
    with worker_thread(store.settings, FakeRuntime(step_delay=0.05), lost_after_s=5.0, max_sequences=1, prefetch=0):
        running = generate(params=LONG)
        begun = await broker.submit(running)
        await until(lambda: bool(store.client(1).exists(Keys().events(running.id))))
        store.cut_off_replica()
        lost = generate()
        waiting = await broker.submit(lost)  # the replica never gets it
        events = [asyncio.create_task(followed_to_the_end(broker, record)) for record in (begun, waiting)]
        await asyncio.sleep(0)
        store.kill("master")
        whole, (end,) = await asyncio.gather(*events)
        assert isinstance(end, Failed)
        assert end.code == "store_unavailable"
        assert text_of(whole) == answer(running)
    await broker.close()


def test_callers_get_whole_answers_or_a_503_and_soon_answers_again(store: Replicated) -> None:
    settings = Settings(store=store.settings, gateway={"keep_alive_s": 0.5}, decode={"processes": 1})
    outcomes: list[str] = []
    stop = threading.Event()
    with (
        worker_thread(store.settings, FakeRuntime(step_delay=0.02), lost_after_s=5.0),
        worker_thread(store.settings, FakeRuntime(step_delay=0.02), lost_after_s=5.0),
        serving(settings) as (url, _),
    ):
        expected = {number: _ask(url, number) for number in range(CALLERS)}
        assert not {"503", "store_unavailable"} & set(expected.values())

        def call(number: int) -> None:
            while not stop.is_set():
                outcome = _ask(url, number)
                outcomes.append("whole" if outcome == expected[number] else outcome)
                stop.wait(0.2)

        threads = [threading.Thread(target=call, args=[number]) for number in expected]
        for thread in threads:
            thread.start()
        until_condition(lambda: len(outcomes) >= CALLERS, "answers of all callers", WITHIN)
        store.kill("sentinel")  # nobody promotes the replica before this caller was refused
        store.kill("master")
        killed = time.monotonic()
        refused = _ask(url, 0)
        store.start_sentinel(down_s=time.monotonic() - killed)
        until_condition(lambda: _ask(url, 0) == expected[0], "an answer after the failover", WITHIN)
        stop.set()
        for thread in threads:
            thread.join(2 * WITHIN)
            assert not thread.is_alive(), "a caller got no end"
    assert refused == "503"
    assert set(outcomes) <= {"whole", "503", "store_unavailable"}, "tokens were lost or doubled"


@pytest.mark.parametrize("how", ["planned", "master killed"])
def test_callers_with_patience_see_no_503_in_a_failover(store: Replicated, how: str) -> None:
    """No sentinel names a master meanwhile, or the one that it names is a replica already."""
    waits = store.settings.model_copy(update={"patience_s": WITHIN})
    settings = Settings(store=waits, gateway={"keep_alive_s": 0.5}, decode={"processes": 1})
    outcomes: list[str] = []
    over = threading.Event()
    with (
        worker_thread(store.settings, FakeRuntime(step_delay=0.002), lost_after_s=5.0),
        serving(settings) as (url, _),
    ):
        expected = {number: _ask(url, number) for number in range(CALLERS)}

        def call(number: int) -> None:
            while not over.is_set():
                outcome = _ask(url, number)
                outcomes.append("whole" if outcome == expected[number] else outcome)

        threads = [threading.Thread(target=call, args=[number]) for number in expected]
        for thread in threads:
            thread.start()
        until_condition(lambda: len(outcomes) >= CALLERS, "answers of all callers", WITHIN)
        if how == "planned":
            with store.sentinel() as sentinel:
                until_condition(lambda: _fails_over(sentinel), "a failover", WITHIN)
        else:
            store.kill("sentinel")
            store.kill("master")
            killed = time.monotonic()
            time.sleep(1)  # the driver gives up
            store.start_sentinel(down_s=time.monotonic() - killed)
        store.wait_until_promoted()
        if how == "planned":
            with store.client(0) as old:
                until_condition(lambda: old.info("replication")["role"] == "slave", "the old master's new role", WITHIN)
        seen = len(outcomes)
        until_condition(lambda: len(outcomes) >= seen + 2 * CALLERS, "answers after the failover", 2 * WITHIN)
        over.set()
        for thread in threads:
            thread.join(2 * WITHIN)
    # A request that only the old master had ends so: its stream was open, and its caller repeats it.
    assert set(outcomes) <= {"whole", "store_unavailable"}


def _ask(url: str, number: int) -> str:
    """The text of one streamed answer, "503", or the code of its error."""
    body = {
        "messages": [{"role": "user", "content": f"caller {number}"}],
        "max_tokens": 40,
        "ignore_eos": True,
        "seed": number,
        "stream": True,
    }
    text, ends, code = "", 0, ""
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60, trust_env=False) as answered:
        if answered.status_code == 503:
            assert "retry-after" in answered.headers
            assert json.loads(answered.read())["error"]["code"] in ("store_unavailable", "no_worker")
            return "503"
        assert answered.status_code == 200
        for line in answered.iter_lines():
            text, ends, code = _read(line, text, ends, code)
    if code:
        return code
    assert ends == 1, "an answer has one end"
    return text


def _read(line: str, text: str, ends: int, code: str) -> tuple[str, int, str]:
    if not line.startswith("data: ") or line == "data: [DONE]":
        return text, ends, code
    chunk = json.loads(line.removeprefix("data: "))
    if "error" in chunk:
        return text, ends, chunk["error"]["code"]
    for choice in chunk["choices"]:
        text += choice["delta"].get("content") or ""
        ends += choice["finish_reason"] is not None
    return text, ends, code


def test_a_worker_s_connection_reports_a_store_that_came_back_unseen(valkey: Valkey) -> None:
    quiet, reporting = connect(valkey.settings), connect(valkey.settings, name="writer", reporting=True)
    for client in (quiet, reporting):
        client.ping()
    for one in valkey.client.client_list():
        if one["name"] in ("worker", "writer"):
            valkey.client.client_kill_filter(_id=one["id"])
    assert quiet.ping()
    with pytest.raises(redis.ConnectionError, match="closed"):
        reporting.ping()
    assert reporting.ping()
    quiet.close()
    reporting.close()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"sentinels": ("a:1",)}, "one needs the other"),
        ({"sentinel_master": "m"}, "one needs the other"),
        ({"sentinels": ("a:1",), "sentinel_master": "m", "url": "redis://h"}, "in place of url"),
        ({"sentinels": ("a:1",), "sentinel_master": "m", "cluster": True}, "no cluster"),
        ({"sentinels": ("a:x",), "sentinel_master": "m"}, "not host:port"),
        ({"sentinels": ("a:1",), "sentinel_master": "m", "tls_ca_file": "/y"}, "sentinel_tls"),
    ],
)
def test_settings_of_sentinels_that_do_not_fit_are_named(given: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        StoreSettings(**given)


def test_addresses_of_sentinels_are_read() -> None:
    given = StoreSettings(sentinels=("one:5", "two", "[::1]:7", "[::1]"), sentinel_master="m")
    assert given.sentinel_addresses == [("one", 5), ("two", 26379), ("::1", 7), ("::1", 26379)]
