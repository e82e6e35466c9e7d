"""redis-py's connections for asyncio, in which a cancellation is never lost.

The driver writes under `asyncio.wait_for`, and on Python 3.11 that returns as if nothing had happened where the
cancellation comes in the moment in which the write ends (python/cpython#86296, mended in 3.12). A cancelled task then
goes on until its next wait ends, seconds later.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from redis.asyncio import RedisCluster
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection


class _Cancellable(AbstractConnection):
    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        try:
            await super().send_packed_command(command, check_health)
        finally:  # also in place of an error: a loop that tries again would never end
            if task is not None and task.cancelling() > before:
                await self.disconnect(nowait=True)  # an answer may still come, and must not be taken for the next one
                raise asyncio.CancelledError


class CancellableConnection(_Cancellable, Connection):
    pass


class CancellableTLSConnection(_Cancellable, SSLConnection):
    pass


class CancellableUnixConnection(_Cancellable, UnixDomainSocketConnection):
    pass


class CancellableSentinelConnection(_Cancellable, SentinelManagedConnection):
    pass


class CancellableSentinelTLSConnection(_Cancellable, SentinelManagedSSLConnection):
    pass


CANCELLABLE: Mapping[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: CancellableConnection,
    SSLConnection: CancellableTLSConnection,
    UnixDomainSocketConnection: CancellableUnixConnection,
}


def drivers_own(pool: ConnectionPool) -> AbstractConnection:
    """A connection beside the pool's, for one long-lived task that looks for its end by itself."""
    kind: Any = pool.connection_class
    if issubclass(kind, _Cancellable):
        [kind] = [base for base in kind.__bases__ if base is not _Cancellable]
    made: AbstractConnection = kind(**pool.connection_kwargs)
    return made


def cancellable(cluster: RedisCluster) -> RedisCluster:
    """The cluster's client with such connections. Its constructor takes no class of them; nodes are made from
    `connection_kwargs`, those it starts with are made already."""
    kind = CANCELLABLE[cluster.connection_kwargs["connection_class"]]
    for options in (cluster.connection_kwargs, cluster.nodes_manager.connection_kwargs):
        options["connection_class"] = kind
    for node in cluster.startup_nodes:
        node.connection_class = kind  # type: ignore[assignment]  # a cluster has no Unix sockets
    return cluster
