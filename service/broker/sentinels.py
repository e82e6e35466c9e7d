"""A store behind Redis Sentinel: each new connection goes to the server that the sentinels call the master now.

A failover closes the connections to the old master, so the commands on them fail, and the next ones reach the new one.
Writes that the old master took and no replica had are lost: docs/operations.md lists what that means.
"""

from typing import Any, cast

import redis
import redis.asyncio
import redis.asyncio.sentinel as asyncio_sentinel
import redis.sentinel as blocking_sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.broker.async_connections import (
    CancellableConnection,
    CancellableSentinelConnection,
    CancellableSentinelTLSConnection,
    CancellableTLSConnection,
)
from service.broker.credentials import sentinel_credentials, tls_files
from service.settings import StoreSettings

_SENTINEL: Any = blocking_sentinel.Sentinel  # the driver's makers bear no types
_ASYNC_SENTINEL: Any = asyncio_sentinel.Sentinel


class SentinelPool(blocking_sentinel.SentinelConnectionPool):
    """Closes its connections to the sentinels with those to the store."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        super().disconnect(inuse_connections)
        if inuse_connections:  # otherwise the driver changes the master
            self.sentinel_manager.close()


class AsyncSentinelPool(asyncio_sentinel.SentinelConnectionPool, redis.asyncio.BlockingConnectionPool):
    """The same; with all connections in use, a command waits for one."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()


def sentinel_pool(settings: StoreSettings, options: dict[str, Any]) -> SentinelPool:
    """`options` are those of a connection to the master."""
    given = {**_to_sentinels(settings), "retry": Retry(NoBackoff(), 0), "ssl": settings.sentinel_tls}
    sentinels = _SENTINEL(settings.sentinel_addresses, sentinel_kwargs=given)
    pool: Any = SentinelPool
    to_master = {**options, "retry": Retry(NoBackoff(), 0), "ssl": settings.sentinel_tls}
    return cast(SentinelPool, pool(settings.sentinel_master, sentinels, **to_master))


def async_sentinel_pool(settings: StoreSettings, options: dict[str, Any]) -> AsyncSentinelPool:
    """`options` are those of a connection to the master, and of the pool."""
    sentinels = _ASYNC_SENTINEL([])
    sentinels.sentinels = [_async_sentinel(settings, host, port) for host, port in settings.sentinel_addresses]
    kind = CancellableSentinelTLSConnection if settings.sentinel_tls else CancellableSentinelConnection
    pool: Any = AsyncSentinelPool
    made = pool(settings.sentinel_master, sentinels, **options, connection_class=kind)
    return cast(AsyncSentinelPool, made)


def _async_sentinel(settings: StoreSettings, host: str, port: int) -> "redis.asyncio.Redis":
    pool = redis.asyncio.ConnectionPool(
        connection_class=CancellableTLSConnection if settings.sentinel_tls else CancellableConnection,
        host=host,
        port=port,
        retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
        **_to_sentinels(settings),
    )
    return redis.asyncio.Redis.from_pool(pool)


def _to_sentinels(settings: StoreSettings) -> dict[str, Any]:
    return {
        "protocol": 2,
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": settings.connect_timeout_s,  # to ask one is a part of connecting
        **sentinel_credentials(settings),
        **tls_files(settings),
    }
