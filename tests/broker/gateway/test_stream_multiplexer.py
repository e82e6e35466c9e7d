import asyncio
from typing import Any, cast

from service.broker import protocol
from service.broker.connection import AsyncStore, connect_async
from service.broker.gateway.stream_multiplexer import StreamMultiplexer, StreamSubscriber
from service.broker.protocol import Done, Event, Token
from tests.conftest import Valkey
from tests.wire import until


def entry(number: int) -> dict[str, bytes]:
    return {"events": protocol.encode([Token(choice=0, token_id=number, text="")])}


async def read(follower: StreamSubscriber, count: int) -> list[int]:
    found: list[Event] = []
    while len(found) < count:
        batch = await follower.next(60)
        assert batch is not None, f"silence after {len(found)} of {count}"
        found += batch
    return [event.token_id for event in found if isinstance(event, Token)]


async def test_a_thousand_streams_need_few_connections(valkey: Valkey) -> None:
    store = connect_async(valkey.settings)
    feeds = StreamMultiplexer(store, "pandagpt:wake:{g}")
    before = valkey.client.info("clients")["connected_clients"]

    async def follow(number: int) -> list[int]:
        async with feeds.follow(f"events:{number}") as follower:
            ready.release()
            return await read(follower, 3)

    ready = asyncio.Semaphore(0)
    readers = [asyncio.create_task(follow(number)) for number in range(1000)]
    for _ in range(1000):
        await ready.acquire()
    pipe = valkey.client.pipeline(transaction=False)
    for step in range(1, 4):
        for number in range(1000):
            pipe.xadd(f"events:{number}", entry(step * 1000 + number), id=f"1-{step}")
    pipe.execute()
    assert await asyncio.gather(*readers) == [[1000 + n, 2000 + n, 3000 + n] for n in range(1000)]
    await store.connection_pool.disconnect(inuse_connections=False)
    after = valkey.client.info("clients")["connected_clients"]
    assert after - before <= 2  # all but the reader's own were only needed to wake it
    await feeds.close()
    await store.aclose()


async def test_a_new_stream_does_not_wait_for_the_read_in_progress(valkey: Valkey) -> None:
    store = connect_async(valkey.settings.model_copy(update={"command_timeout_s": 3600.0}))
    feeds = StreamMultiplexer(store, "pandagpt:wake:{g}", block_ms=3_600_000)  # longer than any test
    async with feeds.follow("silent"):
        await until(lambda: any("b" in one["flags"] for one in valkey.client.client_list()), what="the blocked read")
        valkey.client.xadd("busy", entry(1), id="1-1")
        async with feeds.follow("busy") as follower:
            assert await read(follower, 1) == [1]
    await feeds.close()
    await store.aclose()


class Held:
    """A store whose pipelines wait for `free`; `begun` is set by the first."""

    def __init__(self, inner: AsyncStore) -> None:
        self._inner, self.begun, self.free = inner, asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def pipeline(self, **options: Any) -> Any:
        pipe: Any = self._inner.pipeline(**options)
        execute = pipe.execute

        async def held() -> Any:
            self.begun.set()
            await self.free.wait()
            return await execute()

        pipe.execute = held
        return pipe


async def test_a_reader_who_leaves_while_it_ends_the_running_read_holds_up_no_other(valkey: Valkey) -> None:
    store = connect_async(valkey.settings.model_copy(update={"command_timeout_s": 3600.0}))
    held = Held(store)
    feeds = StreamMultiplexer(cast(AsyncStore, held), "pandagpt:wake:{g}", block_ms=3_600_000)

    async def follow(key: str) -> list[int]:
        async with feeds.follow(key) as follower:
            return await read(follower, 1)

    async with feeds.follow("silent"):
        await until(lambda: any("b" in one["flags"] for one in valkey.client.client_list()), what="the blocked read")
        leaver = asyncio.create_task(follow("left"))
        await held.begun.wait()
        valkey.client.xadd("busy", entry(1), id="1-1")
        reader = asyncio.create_task(follow("busy"))
        await asyncio.sleep(0)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        held.free.set()
        async with asyncio.timeout(30):
            assert await reader == [1]
    await feeds.close()
    await store.aclose()


async def test_a_newcomer_reads_from_the_start_and_the_others_hear_nothing_twice(valkey: Valkey) -> None:
    store = connect_async(valkey.settings)
    feeds = StreamMultiplexer(store, "pandagpt:wake:{g}")
    async with feeds.follow("s") as first:
        for number in (1, 2):
            valkey.client.xadd("s", entry(number), id=f"1-{number}")
        assert await read(first, 2) == [1, 2]
        async with feeds.follow("s") as second:
            assert await read(second, 2) == [1, 2]
            valkey.client.xadd("s", entry(3), id="2-0")
            assert await read(second, 1) == [3]
            assert await read(first, 1) == [3]
    await feeds.close()
    await store.aclose()


async def test_an_entry_nobody_can_read_is_passed_over(valkey: Valkey) -> None:
    store = connect_async(valkey.settings)
    feeds = StreamMultiplexer(store, "pandagpt:wake:{g}")
    valkey.client.xadd("s", {"events": b"\x80\x04pickle"}, id="1-1")
    valkey.client.xadd("s", {"other": b""}, id="1-2")
    valkey.client.xadd("s", {"events": protocol.encode([Done()])}, id="1-3")
    async with feeds.follow("s") as follower:
        assert await follower.next(5) == [Done()]
    await feeds.close()
    await store.aclose()


async def test_following_goes_on_after_the_store_was_away(valkey: Valkey) -> None:
    store = connect_async(valkey.settings)
    feeds = StreamMultiplexer(store, "pandagpt:wake:{g}", retry_s=0.02)
    async with feeds.follow("s") as follower:
        valkey.client.xadd("s", entry(1), id="1-1")
        assert await read(follower, 1) == [1]
        for client in valkey.client.client_list():
            if client["name"] == "gateway":
                valkey.client.client_kill_filter(_id=client["id"])
        valkey.client.xadd("s", entry(2), id="1-2")
        assert await read(follower, 2) == [1, 2]  # from the start: the store that is back may lack some
        assert follower.restarts == 1
    await feeds.close()
    await store.aclose()
