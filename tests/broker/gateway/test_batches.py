"""Batches in the store: a status follows what may come before it, the lease is one command, lists end."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.broker.connection import connect_async
from service.broker.errors import StoreUnavailable
from service.broker.gateway.batches import (
    BEFORE,
    ENDED,
    LEASE_S,
    LONGEST_WINDOW,
    READ_BYTES,
    BatchStatus,
    BatchStore,
    StoredBatch,
    _groups,
)
from service.broker.keys import Keys
from tests.chaos.store_proxy import UNTIL_IT_LEAVES, Harm, store_proxy
from tests.conftest import Valkey

LIFE_S = 1000.0
KEYS = Keys()


@pytest.fixture
async def batches(valkey: Valkey) -> AsyncIterator[BatchStore]:
    connection = connect_async(valkey.settings)
    yield BatchStore(connection, KEYS, LIFE_S)
    await connection.aclose()


def batch(number: int = 0, **fields: Any) -> StoredBatch:
    now = int(time.time())
    given: dict[str, Any] = {
        "id": f"batch_{number}",
        "tenant": "ann",
        "name": "ann",
        "share": "ann",
        "cache_group": "",
        "endpoint": "/v1/chat/completions",
        "input_file": "file-1",
        "output_file": "file-2",
        "error_file": "file-3",
        "window": "1h",
        "created": now,
        "expires": now + 3600,
    }
    return StoredBatch(**{**given, **fields})


async def status_of(batches: BatchStore, batch_id: str) -> BatchStatus:
    found = await batches.find(batch_id)
    assert found is not None
    return found[1].status


@pytest.mark.parametrize("now", BEFORE)
@pytest.mark.parametrize("wanted", BEFORE)
async def test_a_status_follows_only_what_may_come_before_it(
    batches: BatchStore, valkey: Valkey, now: BatchStatus, wanted: BatchStatus
) -> None:
    one = batch()
    await batches.add(one)
    valkey.client.hset(KEYS.batch(one.id), "status", now)
    after = await batches.advance(one.id, wanted, completed=7)
    moved = now in BEFORE[wanted]
    assert after == await status_of(batches, one.id) == (wanted if moved else now)
    found = await batches.find(one.id)
    assert found is not None
    assert found[1].completed == (7 if moved else 0)
    assert (wanted in found[1].times) is moved
    assert (one.id in await batches.unfinished()) is (after not in ENDED)


def test_an_end_is_the_end() -> None:
    assert all(not set(ENDED) & set(before) for before in BEFORE.values())
    assert "finalizing" not in BEFORE["cancelling"], "what is being written is not cancelled"
    assert "cancelling" not in BEFORE["finalizing"], "a cancel is not forgotten"


async def test_a_batch_that_is_gone_has_no_status(batches: BatchStore) -> None:
    assert await batches.advance("batch_gone", "cancelling") is None
    assert await batches.find("batch_gone") is None


async def test_taking_keeping_and_leaving_the_lease_are_one_command_each(valkey: Valkey) -> None:
    """Between two, the lease could end and be another's."""
    async with store_proxy(valkey.url.removeprefix("unix://"), 0, "cut") as (proxy, url):
        connection = connect_async(valkey.settings.model_copy(update={"url": url}))
        batches = BatchStore(connection, KEYS, LIFE_S)
        assert await batches.hold("near")
        assert await batches.hold("near")
        assert not await batches.hold("far")
        assert 0 < valkey.client.ttl(KEYS.batch_lease) <= LEASE_S
        await batches.let_go("far")
        assert not await batches.hold("far")
        await batches.let_go("near")
        assert await batches.hold("far")
        assert proxy.count == 7
        await connection.aclose()


async def test_a_batch_with_a_short_window_ends_no_list_that_another_stands_in(
    batches: BatchStore, valkey: Valkey
) -> None:
    now = int(time.time())
    await batches.add(batch(1, expires=now + LONGEST_WINDOW))
    await batches.add(batch(2, expires=now + 1))
    for names in (KEYS.batches, KEYS.batches_of("ann")):
        assert valkey.client.ttl(names) >= LONGEST_WINDOW


async def test_the_tenant_s_list_forgets_what_no_batch_outlives(batches: BatchStore, valkey: Valkey) -> None:
    now = int(time.time())
    for number in range(20):
        await batches.add(batch(number, created=now - LONGEST_WINDOW - round(LIFE_S) - 60 + number))
    await batches.add(batch(99))
    assert await batches.of_tenant("ann") == ["batch_99"]
    assert valkey.client.zcard(KEYS.batches_of("ann")) == 1


async def test_a_batch_that_is_added_late_once_more_keeps_its_status(batches: BatchStore) -> None:
    one = batch()
    await batches.add(one)
    await batches.advance(one.id, "cancelling")
    await batches.add(one)
    assert await status_of(batches, one.id) == "cancelling"


@pytest.mark.parametrize("harm", ["cut", "answer lost", "stopped"])
async def test_a_result_whose_answer_was_lost_is_counted_once_and_known_as_the_first(
    harm: Harm, batches: BatchStore, valkey: Valkey
) -> None:
    one = batch()
    await batches.add(one)
    async with store_proxy(valkey.url.removeprefix("unix://"), 1, harm, UNTIL_IT_LEAVES) as (proxy, url):
        connection = connect_async(valkey.settings.model_copy(update={"url": url, "command_timeout_s": 0.2}))
        near = BatchStore(connection, KEYS, LIFE_S)
        with pytest.raises(StoreUnavailable):
            await near.record(one, 0, b"{}", failed=False)
        assert proxy.harmed
        assert await near.record(one, 0, b"{}", failed=False, tried_before=True)
        assert not await batches.record(one, 0, b"[]", failed=False, tried_before=True)
        await connection.aclose()
    found = await batches.find(one.id)
    assert found is not None
    assert (found[1].completed, await batches.result_bytes(one.id)) == (1, len(b"o{}"))


async def test_results_are_read_a_few_bytes_at_a_time(batches: BatchStore, valkey: Valkey) -> None:
    one, large = batch(), b"x" * (READ_BYTES // 3)
    await batches.add(one)
    given = {line: large if line % 4 else large * 4 for line in range(9) if line != 5}
    for line, result in given.items():
        assert await batches.record(one, line, result, failed=line == 2)
    found = [result async for result in batches.results(one.id, range(9))]
    assert found == [None if line == 5 else (b"e" if line == 2 else b"o") + given[line] for line in range(9)]
    assert await batches.result_bytes(one.id) == sum(len(result) + 1 for result in given.values())
    sizes = [0 if result is None else len(result) for result in found]
    assert max(sum(sizes[line] for line in group) for group in _groups(range(9), sizes)) == len(large) * 4 + 1
