"""A batch's runner: it sees a cancel and the window's end at any time, and keeps to the key's tokens."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from service.broker.connection import connect_async
from service.broker.errors import StoreUnavailable
from service.broker.gateway.batches import ENDED, BatchProgress, BatchStore, StoredBatch
from service.broker.gateway.rate_limits import RateLimits, RateStore
from service.broker.keys import Keys
from service.gateway.access.rate_limit import RateLimiter, UsageMeter
from service.gateway.inference.batches.requests import BatchCall
from service.gateway.inference.batches.runner import BatchRunner
from service.gateway.inference.service import RequestService
from service.gateway.inference.validated import RequestLimits
from service.gateway.media.files import FileStore, Quota
from service.gateway.media.sources import MediaSources
from service.metrics import GatewayMetrics
from tests.conftest import Valkey
from tests.security.beside import HELD_S, Watch, least_held, watched

CHAT = "/v1/chat/completions"
SLOTS = 2
QUOTA = 1 << 20  # bytes of a key's files
Answer = Callable[[BatchCall, str, bytes], Awaitable[dict[str, Any]]]


class Bench:
    """A runner over a real store, whose lines are answered by `answer`."""

    def __init__(self, store: Any, answer: Answer, tokens: int, quota: int) -> None:
        self.batches = BatchStore(store, Keys(), 600)
        self.files = FileStore(store, Keys(), Quota(100, quota, 600))
        self.limiter = RateLimiter(RateStore(store, Keys(), RateLimits(tokens=tokens)))
        self.registry = CollectorRegistry()
        self.metrics = GatewayMetrics.on(self.registry)
        self.runner = BatchRunner(
            self.batches,
            self.files,
            cast(RequestService, None),
            RequestLimits(),
            UsageMeter(self.limiter, self.metrics.usage_tokens),
            lambda _: cast(MediaSources, None),
            SLOTS,
            answer,
        )

    async def start(self, lines: int, window_s: float = 3600) -> StoredBatch:
        entries = [{"custom_id": str(number), "url": CHAT, "body": {}} for number in range(lines)]
        data = "\n".join(json.dumps(entry) for entry in entries).encode()
        info = await self.files.add("ann", "in.jsonl", "batch", data, "0" * 64)
        now = int(time.time())
        batch = StoredBatch(
            id="batch_1",
            tenant="ann",
            name="ann",
            share="ann",
            cache_group="",
            endpoint=CHAT,
            input_file=info.id,
            output_file="file-out",
            error_file="file-err",
            window="1h",
            created=now,
            expires=now + round(window_s),
            key_class="reader",
        )
        await self.batches.add(batch)
        return batch

    async def progress(self) -> BatchProgress:
        found = await self.batches.find("batch_1")
        assert found is not None
        return found[1]

    async def ended(self) -> BatchProgress:
        async with asyncio.timeout(60):
            while (now := await self.progress()).status not in ENDED:
                await asyncio.sleep(0.02)
        return now


class RecordsUnheard:
    """Batches of a store whose answer to each line's first record is lost."""

    def __init__(self, inner: BatchStore) -> None:
        self._inner, self._heard = inner, set[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def record(self, batch: StoredBatch, line: int, *arguments: Any) -> bool:
        first = await self._inner.record(batch, line, *arguments)
        if line not in self._heard:
            self._heard.add(line)
            raise StoreUnavailable("the answer was lost", passing=True)
        return first


Make = Callable[..., Any]


@pytest.fixture
def bench(valkey: Valkey) -> Make:
    @asynccontextmanager
    async def make(answer: Answer, tokens: int = 0, quota: int = QUOTA) -> AsyncIterator[Bench]:
        store = connect_async(valkey.settings)
        made = Bench(store, answer, tokens, quota)
        following = asyncio.create_task(made.runner.follow())
        yield made
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await store.aclose()

    return make


async def endless(*_: object) -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_cancel_is_seen_while_every_slot_is_busy(bench: Make) -> None:
    begun = asyncio.Semaphore(0)

    async def answer(*given: object) -> dict[str, Any]:
        begun.release()
        return await endless(*given)

    async with bench(answer) as one:
        batch = await one.start(10)
        for _ in range(SLOTS):
            await begun.acquire()
        assert await one.batches.advance(batch.id, "cancelling") == "cancelling"
        assert (await one.ended()).status == "cancelled"


async def test_the_window_s_end_is_seen_while_every_slot_is_busy(bench: Make) -> None:
    async with bench(endless) as one:
        await one.start(10, window_s=2)
        done = await one.ended()
    assert (done.status, done.completed, done.failed) == ("expired", 0, 10)


async def test_a_cancel_at_the_last_line_s_end_is_kept_with_its_answers(bench: Make) -> None:
    async def answer(*_: object) -> dict[str, Any]:
        await one.batches.advance("batch_1", "cancelling")
        return {}

    async with bench(answer) as one:
        await one.start(1)
        done = await one.ended()
    assert (done.status, done.completed, done.total) == ("cancelled", 1, 1)


async def test_a_batch_left_while_its_files_were_written_is_completed(bench: Make) -> None:
    async def answer(*_: object) -> dict[str, Any]:
        raise AssertionError("every line has its result")

    async with bench(answer) as one:
        batch = await one.start(3, window_s=-1)  # the window has ended meanwhile
        for line in range(3):
            await one.batches.record(batch, line, b"{}", failed=False)
        for status in ("in_progress", "finalizing"):
            await one.batches.advance(batch.id, status)
        done = await one.ended()
    assert (done.status, done.completed) == ("completed", 3)


async def test_each_line_s_tokens_are_the_key_s(bench: Make) -> None:
    number = itertools.count()
    shapes = {"prompt_tokens": 30, "completion_tokens": 20}, {"input_tokens": 30, "output_tokens": 20}

    async def answer(*_: object) -> dict[str, Any]:
        return {"usage": {**shapes[next(number) % 2], "total_tokens": 50}}

    async with bench(answer, tokens=600) as one:
        began = time.monotonic()
        await one.start(4)
        assert (await one.ended()).completed == 4
        share = await one.limiter._store.look("ann")
        assert share.tokens <= 400 + 10 * (time.monotonic() - began) + 1
        for kind, count in (("prompt", 4 * 30), ("completion", 4 * 20)):
            labels = {"key_class": "reader", "kind": kind}
            assert one.registry.get_sample_value("pandagpt_usage_tokens_total", labels) == count


async def test_a_line_whose_result_s_answer_is_lost_is_charged_once(bench: Make) -> None:
    async def answer(*_: object) -> dict[str, Any]:
        return {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}

    async with bench(answer) as one:
        one.runner.batches = RecordsUnheard(one.batches)
        one.runner.retry_s = 0.01
        await one.start(2)
        assert (await one.ended()).completed == 2
        labels = {"key_class": "reader", "kind": "completion"}
        assert one.registry.get_sample_value("pandagpt_usage_tokens_total", labels) == 4


async def test_a_batch_waits_for_tokens_where_a_direct_request_is_refused(bench: Make) -> None:
    waited: list[float] = []

    async def answer(*_: object) -> dict[str, Any]:
        waited.append(await one.limiter.token_wait("ann"))
        return {}

    async with bench(answer, tokens=6000) as one:
        await one.limiter.charge("ann", 6300)  # three seconds' worth too many
        assert await one.limiter.token_wait("ann") > 0
        await one.start(2)
        done = await one.ended()
    assert (done.status, done.completed, done.failed) == ("completed", 2, 0)
    assert waited == [0.0, 0.0]


async def test_results_as_large_as_a_key_s_files_end_a_batch_s_lines(bench: Make) -> None:
    async def answer(*_: object) -> dict[str, Any]:
        return {"text": "x" * (QUOTA // 4)}

    async with bench(answer) as one:
        batch = await one.start(12)
        done = await one.ended()
        assert done.status == "completed"
        assert 4 <= done.completed <= 4 + SLOTS
        assert done.completed + done.failed == 12
        errors = (await one.files.open("ann", batch.error_file)).data.decode().splitlines()
    bodies = [json.loads(line)["response"] for line in errors]
    assert {body["status_code"] for body in bodies} == {413}
    assert all(str(QUOTA) in body["body"]["error"]["message"] for body in bodies)


async def test_a_line_of_very_many_numbers_does_not_hold_the_loop(bench: Make) -> None:
    numbers = [0.12345678806304932] * 1024  # as float32 becomes text
    data = [{"object": "embedding", "index": at, "embedding": numbers} for at in range(1024)]

    async def answer(*_: object) -> dict[str, Any]:
        return {"data": data}

    async def run() -> Watch:
        async with bench(answer, quota=1 << 26) as one, watched() as watch:
            batch = await one.start(1)
            assert (await one.ended()).completed == 1
            assert (await one.files.info("ann", batch.output_file)).bytes > 1024 * 1024 * 10
            return watch

    watch = await least_held(run)
    assert watch.stall < HELD_S, watch.staller
