"""A gateway that leaves behind a proxy: no request is lost on a connection that the proxy had made."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service import settings
from service.gateway import server
from service.gateway.connections.listener import stop_listening
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.wire import until

LIVE = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
DELAY_S = 0.5


@asynccontextmanager
async def running(valkey: Valkey, **gateway: Any) -> AsyncIterator[tuple[server.GatewayServer, int]]:
    """A gateway on a free loopback port; at the block's end it leaves, and must have left in good order."""
    given: dict[str, dict[str, object]] = {
        "gateway": {"port": 0, "shutdown_delay_s": DELAY_S, "drain_grace_s": 20.0, **gateway},
        "store": {"url": valkey.url},
        "decode": {"processes": 1},
    }
    made = server.make(settings.load(given))
    task = asyncio.create_task(made._serve(None))  # `serve` would take over the test's signals
    await until(lambda: made.started)
    try:
        yield made, made.servers[0].sockets[0].getsockname()[1]
    finally:
        made.should_exit = True
        await task


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)


def before_the_listener_closes(made: server.GatewayServer, act: Callable[[], None]) -> None:
    """`act` runs in the very step of the loop in which the server begins to shut down."""
    shut = made.shutdown

    async def shutdown(sockets: list[socket.socket] | None = None) -> None:
        act()
        await shut(sockets)

    made.shutdown = shutdown  # type: ignore[method-assign]  # the instant between two steps of the loop


async def test_requests_on_connections_that_wait_to_be_accepted_are_answered(valkey: Valkey) -> None:
    async with running(valkey) as (made, port):
        waiting: list[socket.socket] = []

        def connect() -> None:
            for _ in range(5):
                waiting.append(socket.create_connection(("127.0.0.1", port), 5))
                waiting[-1].sendall(LIVE)

        before_the_listener_closes(made, connect)
        made.handle_exit(signal.SIGTERM, None)
        await until(lambda: len(waiting) == 5)
        for one in waiting:
            reader, writer = await asyncio.open_connection(sock=one)
            head = await head_of(reader)
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert b"\r\nconnection: close\r\n" in head
            writer.close()


async def test_a_connection_that_begins_too_late_is_refused_and_not_reset() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    await stop_listening([listener])
    late = asyncio.create_task(asyncio.to_thread(socket.create_connection, listener.getsockname(), 20))
    await asyncio.sleep(0.2)  # its SYN has come, and is dropped
    assert not late.done()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await late


async def test_the_connection_of_a_stream_that_began_before_takes_one_request_more(valkey: Valkey) -> None:
    """The stream's head did not announce the connection's end, so a proxy keeps it for the next request."""
    body = b'{"messages":[{"role":"user","content":"x"}],"max_tokens":4,"ignore_eos":true,"stream":true}'
    length = f"content-length: {len(body)}\r\n\r\n".encode()
    ask = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" + length + body
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.4)):
        async with running(valkey, shutdown_delay_s=1.0) as (made, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ask)
            assert b"connection: close" not in await head_of(reader)
            made._end_delay(signal.SIGTERM)
            await until(lambda: not made.servers[0].is_serving())
            assert b"[DONE]" in await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20)
            writer.write(LIVE)
            head = await head_of(reader)
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert b"\r\nconnection: close\r\n" in head
            writer.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_unused_connection_holds_no_gateway_that_leaves(valkey: Valkey, number: signal.Signals) -> None:
    async with running(valkey, idle_timeout_s=600.0) as (made, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LIVE)
        await reader.readuntil(b'{"status":"ok"}')
        made.handle_exit(number, None)
        assert await asyncio.wait_for(reader.read(), 15) == b""  # long before the drain's end
        writer.close()


async def test_a_connection_without_a_request_closes_after_its_time(valkey: Valkey) -> None:
    async with running(valkey, idle_timeout_s=0.2) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LIVE)
        await reader.readuntil(b'{"status":"ok"}')
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
