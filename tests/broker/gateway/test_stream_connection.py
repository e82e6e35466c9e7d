import asyncio

import pytest
from redis.exceptions import ConnectionError as Lost

from service.broker.connection import connect_async
from service.broker.gateway.stream_multiplexer import StreamConnection, StreamCursor
from tests.conftest import Valkey
from tests.wire import until


async def test_it_reads_each_stream_after_its_place(valkey: Valkey) -> None:
    store = connect_async(valkey.settings)
    tap, places = StreamConnection(store.connection_pool), [StreamCursor(f"s:{number}") for number in range(3)]
    for number in (1, 2, 3):
        valkey.client.xadd("s:0", {"f": b"%d\r\n" % number, "g": b""}, id=f"1-{number}")
    valkey.client.xadd("s:2", {"f": b"x"}, id="7-1")
    places[0].move(b"1-1")
    found = await tap.read(places, count=10, block_ms=1000)
    assert found == [
        [b"s:0", [[b"1-2", [b"f", b"2\r\n", b"g", b""]], [b"1-3", [b"f", b"3\r\n", b"g", b""]]]],
        [b"s:2", [[b"7-1", [b"f", b"x"]]]],
    ]
    assert len((await tap.read([places[0]], count=1, block_ms=1000))[0][1]) == 1
    await tap.close()
    await store.aclose()


async def test_silence_gives_nothing_and_what_comes_ends_it(valkey: Valkey) -> None:
    store = connect_async(valkey.settings)
    tap, place = StreamConnection(store.connection_pool), StreamCursor("s")
    assert await tap.read([place], count=10, block_ms=20) == []
    reading = asyncio.create_task(tap.read([place], count=10, block_ms=60_000))
    await asyncio.sleep(0.05)
    valkey.client.xadd("s", {"f": b"x"}, id="1-1")
    assert await asyncio.wait_for(reading, 30) == [[b"s", [[b"1-1", [b"f", b"x"]]]]]
    await tap.close()
    await store.aclose()


async def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(valkey: Valkey) -> None:
    store = connect_async(valkey.settings)
    tap = StreamConnection(store.connection_pool)
    reading = asyncio.create_task(tap.read([StreamCursor("first")], count=10, block_ms=8000))
    await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    valkey.client.xadd("first", {"f": b"1"}, id="1-1")
    valkey.client.xadd("second", {"f": b"2"}, id="1-1")
    assert await tap.read([StreamCursor("second")], count=10, block_ms=1000) == [[b"second", [[b"1-1", [b"f", b"2"]]]]]
    await tap.close()
    await store.aclose()


async def test_a_lost_connection_is_an_error_and_the_next_read_has_a_new_one(valkey: Valkey) -> None:
    store = connect_async(valkey.settings, name="tapped")
    tap, place = StreamConnection(store.connection_pool), StreamCursor("s")
    reading = asyncio.create_task(tap.read([place], count=10, block_ms=60_000))
    await until(lambda: any(one["name"] == "tapped" and one["cmd"] == "xread" for one in valkey.client.client_list()))
    for client in valkey.client.client_list():
        if client["name"] == "tapped":
            valkey.client.client_kill_filter(_id=client["id"])
    with pytest.raises(Lost):
        await reading
    valkey.client.xadd("s", {"f": b"x"}, id="1-1")
    assert await tap.read([place], count=10, block_ms=1000) == [[b"s", [[b"1-1", [b"f", b"x"]]]]]
    await tap.close()
    assert valkey.client.ping()
    await store.aclose()
