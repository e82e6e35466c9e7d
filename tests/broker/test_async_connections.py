"""A cancellation reaches the task that waits for the store, also in the moment in which a write ends."""

import asyncio
import errno
from collections.abc import Iterable
from contextlib import suppress

import pytest
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.exceptions import ConnectionError as StoreGone

from service.broker.async_connections import (
    CancellableConnection,
    CancellableTLSConnection,
    CancellableUnixConnection,
    drivers_own,
)
from service.broker.connection import connect_async
from service.settings import StoreSettings
from tests.conftest import Valkey


class CancelledAsTheWriteEnds(CancellableUnixConnection):
    """The cancellation is delivered between the end of the write and the turn of the task that waits for it."""

    victim: asyncio.Task[object] | None = None

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        await super()._send_packed_command(command)
        if self.victim is not None:
            asyncio.get_running_loop().call_soon(self.victim.cancel)


async def test_a_cancellation_in_the_moment_a_write_ends_is_not_lost(valkey: Valkey) -> None:
    path = valkey.url.removeprefix("unix://")
    connection = CancelledAsTheWriteEnds(path=path, socket_timeout=5.0)
    await connection.connect()
    answered = []

    async def ask() -> None:
        await connection.send_command("PING")
        answered.append(await connection.read_response())
        await asyncio.sleep(60)

    task = connection.victim = asyncio.create_task(ask())
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()
    assert answered == []
    assert not connection.is_connected, "the answer that comes would be taken for the next command's"


class CancelledAsTheWriteFails(CancellableUnixConnection):
    """The cancellation is delivered between the failure of the write and the turn of the task that waits for it."""

    victim: asyncio.Task[object] | None = None

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        if self.victim is None:
            await super()._send_packed_command(command)
            return
        asyncio.get_running_loop().call_soon(self.victim.cancel)
        raise ConnectionResetError(errno.ECONNRESET, "reset")


async def test_a_cancellation_in_the_moment_a_write_fails_is_not_lost(valkey: Valkey) -> None:
    connection = CancelledAsTheWriteFails(path=valkey.url.removeprefix("unix://"), socket_timeout=5.0)
    await connection.connect()

    async def repeat() -> None:
        while True:  # as one who writes down a result until the store has it
            with suppress(StoreGone):
                await connection.send_command("PING", check_health=False)
            connection.victim = None
            await asyncio.sleep(60)

    task = connection.victim = asyncio.create_task(repeat())
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()


async def test_the_gateway_s_connections_are_of_that_kind(valkey: Valkey) -> None:
    store = connect_async(valkey.settings)
    assert isinstance(store.connection_pool.make_connection(), CancellableUnixConnection)
    await store.aclose()


async def test_the_reader_of_streams_has_the_drivers_own_kind(valkey: Valkey) -> None:
    """The reader's task checks for its end by itself, and each token of each stream comes through it."""
    store = connect_async(valkey.settings)
    assert type(drivers_own(store.connection_pool)) is UnixDomainSocketConnection
    await store.aclose()


@pytest.mark.parametrize(
    ("scheme", "kind"), [("redis", CancellableConnection), ("rediss", CancellableTLSConnection)], ids=["plain", "TLS"]
)
async def test_a_cluster_s_nodes_have_that_kind_too(scheme: str, kind: type) -> None:
    store = connect_async(StoreSettings(url=f"{scheme}://127.0.0.1:1", cluster=True))
    assert store.startup_nodes
    assert {type(node.acquire_connection()) for node in store.startup_nodes} == {kind}
    assert store.nodes_manager.connection_kwargs["connection_class"] is kind  # of nodes that it finds later
    await store.aclose()
