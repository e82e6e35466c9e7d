"""No window between two writes of files and batches: harm is done at each store command of a gateway in turn.

`near` reaches the store through a proxy that cuts, stops or kills; `far` goes on directly where `near` was killed. A
file that is listed is whole, each line of a batch has one result, a batch ends once and its files are whole, and every
key has a life.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from service.broker.connection import connect_async
from service.broker.errors import BrokerError, StoreUnavailable
from service.broker.gateway.batches import ENDED, BatchProgress, BatchStore, StoredBatch
from service.broker.gateway.rate_limits import RateLimits, RateStore
from service.broker.keys import Keys
from service.gateway.access.rate_limit import RateLimiter, UsageMeter
from service.gateway.background import BackgroundTasks
from service.gateway.errors import GatewayError
from service.gateway.inference.batches.runner import BatchRunner
from service.gateway.inference.service import RequestService
from service.gateway.inference.validated import RequestLimits
from service.gateway.media.files import PIECE, FileStore, Quota
from service.gateway.media.sources import MediaSources
from service.gateway.routes.batches import _enter
from service.metrics import GatewayMetrics
from service.settings import StoreSettings
from tests.chaos.store_proxy import HARMS, LATE_S, UNTIL_IT_LEAVES, Harm, StoreProxy, store_proxy
from tests.conftest import Valkey

TIMEOUT_S = 0.4
MOST = 60
LINES = 2
CHAT = "/v1/chat/completions"
KEYS = Keys()


class Gateway:
    """A gateway's runner of batches; each line's answer is its number."""

    def __init__(self, settings: StoreSettings) -> None:
        self.store = connect_async(settings)
        self.batches = BatchStore(self.store, KEYS, 600)
        self.files = FileStore(self.store, KEYS, Quota(1000, 1 << 30, 600))
        metrics = GatewayMetrics.on(CollectorRegistry())
        self.runner = BatchRunner(
            self.batches,
            self.files,
            cast(RequestService, None),
            RequestLimits(),
            UsageMeter(RateLimiter(RateStore(self.store, KEYS, RateLimits())), metrics.usage_tokens),
            lambda _: cast(MediaSources, None),
            LINES,
            self._answer,
            retry_s=0.01,
        )

    async def _answer(self, _: object, url: str, body: bytes) -> dict[str, Any]:
        return {"of": json.loads(body)["number"], "url": url}

    async def look(self) -> None:
        with suppress(BrokerError):
            await self.runner._look()
        await asyncio.gather(*self.runner._tasks.values(), return_exceptions=True)

    async def kill(self) -> None:
        for task in self.runner._tasks.values():
            task.cancel()
        await asyncio.gather(*self.runner._tasks.values(), return_exceptions=True)
        await self.store.aclose()


@dataclass
class Stage:
    near: Gateway
    far: Gateway
    proxy: StoreProxy
    valkey: Valkey

    @property
    def living(self) -> Gateway:
        """The gateway that a caller's repeat, or the lease, comes to."""
        if self.proxy.died.is_set():
            self.valkey.client.delete(KEYS.batch_lease)  # its time is over
            return self.far
        return self.near

    async def tried(self, work: Callable[[Gateway], Coroutine[Any, Any, Any]]) -> Any:
        """Until it is done, as a caller who repeats what failed."""
        async with asyncio.timeout(100):
            while True:
                with suppress(BrokerError):
                    return await work(self.living)


async def upload(stage: Stage) -> None:
    data = bytes(range(256)) * (PIECE // 256) + b"end"
    digest = hashlib.sha256(data).hexdigest()
    info = await stage.tried(lambda one: one.files.add("ann", "a", "batch", data, digest))
    listed = await stage.far.files.list("ann")
    assert info.id in {one.id for one in listed}
    for one in listed:
        assert hashlib.sha256((await stage.far.files.open("ann", one.id)).data).hexdigest() == digest
    await stage.tried(lambda one: one.files.keep_until("ann", info.id, time.time() + 3600))
    assert (await stage.far.files.info("ann", info.id)).expires > time.time() + 3600


async def delete(stage: Stage) -> None:
    """Neither the entry nor the bytes are left, after any number of repeats by the caller."""
    info = await stage.far.files.add("ann", "a", "batch", b"end", "0" * 64)

    async def gone(one: Gateway) -> None:
        with suppress(GatewayError):  # an earlier try had deleted it
            await one.files.delete("ann", info.id)

    await stage.tried(gone)
    assert await stage.far.files.list("ann") == []
    assert not stage.valkey.client.exists(KEYS.file("ann", info.id))


async def run(stage: Stage) -> None:
    """Created, run to its end, its files written."""
    batch = await _started(stage)
    done = await _ended(stage, batch)
    assert (done.status, done.total, done.completed, done.failed) == ("completed", LINES, LINES, 0)
    content = (await stage.far.files.open("ann", batch.output_file)).data
    told = [json.loads(line) for line in content.splitlines()]
    assert [line["response"]["body"]["of"] for line in told] == list(range(LINES))


async def cancel(stage: Stage) -> None:
    batch = await _started(stage)
    await stage.tried(lambda one: one.batches.advance(batch.id, "cancelling"))
    done = await _ended(stage, batch)
    assert (done.status, done.completed, done.failed) == ("cancelled", 0, 0)
    async with asyncio.timeout(100):
        while await stage.far.batches.unfinished():  # a late command entered it once more; the next look forgets it
            await stage.living.look()


async def _started(stage: Stage) -> StoredBatch:
    batch = await _made(stage.far)
    await stage.tried(lambda one: one.batches.add(batch))
    return batch


async def _made(gateway: Gateway) -> StoredBatch:
    lines = [{"custom_id": f"{number}", "url": CHAT, "body": {"number": number}} for number in range(LINES)]
    data = "\n".join(json.dumps(line) for line in lines).encode()
    info = await gateway.files.add("ann", "in.jsonl", "batch", data, "0" * 64)
    now, name = int(time.time()), f"{time.time_ns():x}"
    return StoredBatch(
        id=f"batch_{name}",
        tenant="ann",
        name="ann",
        share="ann",
        cache_group="",
        endpoint=CHAT,
        input_file=info.id,
        output_file=f"file-out{name}",
        error_file=f"file-err{name}",
        window="1h",
        created=now,
        expires=now + 3600,
    )


async def _ended(stage: Stage, batch: StoredBatch) -> BatchProgress:
    async with asyncio.timeout(100):
        while True:
            await stage.living.look()
            found = await stage.far.batches.find(batch.id)
            assert found is not None
            if found[1].status in ENDED and batch.id not in await stage.far.batches.unfinished():
                return found[1]


PATHS: tuple[Callable[[Stage], Coroutine[Any, Any, None]], ...] = (upload, delete, run, cancel)


@pytest.fixture
async def far(valkey: Valkey) -> AsyncIterator[Gateway]:
    gateway = Gateway(valkey.settings)
    yield gateway
    await gateway.kill()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a killed process closes no connection
@pytest.mark.timeout(300)
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
async def test_harm_at_each_store_command_of_a_batch_loses_nothing(
    path: Callable[[Stage], Coroutine[Any, Any, None]],
    harm: Harm,
    far: Gateway,
    valkey: Valkey,
) -> None:
    socket, done = valkey.url.removeprefix("unix://"), 0
    for at in range(1, MOST):
        async with store_proxy(socket, at, harm, UNTIL_IT_LEAVES) as (proxy, url):
            near = Gateway(valkey.settings.model_copy(update={"url": url, "command_timeout_s": TIMEOUT_S}))
            await path(Stage(near, far, proxy, valkey))
            await near.kill()
            count = proxy.count
        assert [key for key in valkey.client.scan_iter() if valkey.client.ttl(key) == -1] == []
        valkey.client.flushall()
        if count < at:
            break
        done = at
    assert 1 < done < MOST - 1


@pytest.mark.parametrize("harm", ["cut", "answer lost", "stopped"])
async def test_a_batch_whose_caller_got_an_error_is_not_run(harm: Harm, far: Gateway, valkey: Valkey) -> None:
    """The caller sends it again, and would have it run twice."""
    socket, done = valkey.url.removeprefix("unix://"), 0
    for at in range(1, MOST):
        async with store_proxy(socket, at, harm, UNTIL_IT_LEAVES) as (proxy, url):
            store = connect_async(valkey.settings.model_copy(update={"url": url, "command_timeout_s": TIMEOUT_S}))
            background, batch = BackgroundTasks(), await _made(far)
            try:
                await _enter(BatchStore(store, KEYS, 600), background, batch)
            except StoreUnavailable:
                assert proxy.harmed
                await asyncio.gather(*background._tasks)
                await asyncio.sleep(2 * LATE_S)  # in which a command may come late
            await far.look()
            found = await far.batches.find(batch.id)
            assert (found is not None and found[1].status == "completed") is not proxy.harmed
            await store.aclose()
        if not proxy.harmed:
            break
        done = at
    assert 1 < done < MOST - 1
