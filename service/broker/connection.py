"""Connecting to the store, and what its errors mean to us.

Redis or Valkey, one server, one behind sentinels or a cluster, from 6.2 on (XAUTOCLAIM). Commands are never repeated
behind our back: the only callers can decide which may be, and what an unclear outcome means.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis import exceptions
from redis.asyncio.connection import parse_url
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.broker.async_connections import CANCELLABLE, cancellable
from service.broker.credentials import store_credentials, tls_files
from service.broker.errors import StoreRefused, StoreTooOld, StoreUnavailable
from service.broker.faults import (
    CERTIFICATE,
    CERTIFICATE_WANTED,
    ENDED_TLS,
    FAULTS,
    NO_MASTER,
    SENTINEL_REFUSED,
    Fault,
    fault_of,
)
from service.broker.sentinels import async_sentinel_pool, sentinel_pool
from service.broker.sync_connections import REPORTING, ReportingPool
from service.settings import StoreSettings

MIN_VERSION = (6, 2)
GOOD_VERSION = (7, 2)  # below it work goes on; security fixes have ended
_CLASSES: Mapping[type[Exception], str] = {
    exceptions.AuthenticationError: "WRONGPASS",
    exceptions.AuthorizationError: "NOPERM",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MovedError: "MOVED",  # before its base, ASK's
    exceptions.AskError: "ASK",
    exceptions.TryAgainError: "TRYAGAIN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterCrossSlotError: "CROSSSLOT",
}

MASTER_NOT_FOUND = (redis.sentinel.MasterNotFoundError, redis.asyncio.sentinel.MasterNotFoundError)
SyncStore = redis.Redis | redis.RedisCluster
AsyncStore = redis.asyncio.Redis | redis.asyncio.RedisCluster


def connect(settings: StoreSettings, *, name: str = "worker", reporting: bool = False) -> SyncStore:
    """A client that blocks; connects at its first command. `name` shows in CLIENT LIST.

    reporting: a command fails where the store closed the connection before it (`sync_connections.py`).
    """
    if settings.cluster:
        kind = ReportingPool if reporting else redis.ConnectionPool
        return redis.RedisCluster.from_url(
            settings.required_url(),
            retry=Retry(NoBackoff(), 0),
            connection_pool_class=kind,
            **_common(settings, name),
        )
    pool: redis.ConnectionPool = (
        sentinel_pool(settings, _common(settings, name))
        if settings.sentinels
        else redis.ConnectionPool.from_url(
            settings.required_url(), retry=Retry(NoBackoff(), 0), **_common(settings, name)
        )
    )
    if reporting:
        pool.connection_class = REPORTING[pool.connection_class]
    return redis.Redis.from_pool(pool)


def connect_async(settings: StoreSettings, *, name: str = "gateway") -> AsyncStore:
    """The same for asyncio. With all connections in use, a command waits for one."""
    if settings.cluster:
        retry = redis.asyncio.retry.Retry(NoBackoff(), 0)  # its own default repeats a command ten times
        return cancellable(
            redis.asyncio.RedisCluster.from_url(settings.required_url(), retry=retry, **_common(settings, name))
        )
    options: dict[str, Any] = {
        "timeout": settings.command_timeout_s,
        "retry": redis.asyncio.retry.Retry(NoBackoff(), 0),
        **_common(settings, name),
    }
    if settings.sentinels:
        return redis.asyncio.Redis.from_pool(async_sentinel_pool(settings, options))
    options |= {
        "connection_class": redis.asyncio.Connection,
        **parse_url(settings.required_url()),  # last: an option in the URL goes before the settings, as in from_url
    }
    options["connection_class"] = CANCELLABLE[options["connection_class"]]
    return redis.asyncio.Redis.from_pool(redis.asyncio.BlockingConnectionPool(**options))


def _common(settings: StoreSettings, name: str) -> dict[str, Any]:
    return {
        "protocol": 2,  # one shape of answers on every server
        "client_name": name,
        "max_connections": settings.pool,
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": settings.command_timeout_s,
        **store_credentials(settings),
        **tls_files(settings),
    }


DRIVER_ERRORS = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
STORE_ERRORS = (*DRIVER_ERRORS, StoreUnavailable)


def raise_translated(error: Exception) -> NoReturn:
    """As `store_errors`, for paths that run at every token. `error` is one of `STORE_ERRORS`."""
    ours = error if isinstance(error, StoreUnavailable) else translated(error)
    if ours is None or ours is error:
        raise error
    raise ours from error


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the driver's errors into ours. Other errors are bugs of ours and pass through."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise_translated(error)


def translated(error: Exception) -> StoreUnavailable | None:
    """Our error for one of the driver's, or None where it is no failure of the store. Names no address."""
    fault = _fault_of(error)
    if fault is not None:
        return fault.kind(fault.message, advice=fault.advice, passing=fault.passing)
    if isinstance(error, exceptions.ResponseError) and not isinstance(error, exceptions.ClusterError):
        return None
    if isinstance(error, exceptions.DataError | exceptions.WatchError):
        return None
    if isinstance(error, exceptions.RedisClusterException) and "cannot be connected" not in str(error):
        return None  # a command with keys of several slots
    advice = "start it, or mend store.url and the network"
    return StoreUnavailable("the store does not answer", advice=advice, passing=True)


def _fault_of(error: BaseException) -> Fault | None:
    """By the driver's class where it has one, which loses the code; else by the code in the text."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return CERTIFICATE
        if "CERTIFICATE_REQUIRED" in str(cause):
            return CERTIFICATE_WANTED
        if isinstance(cause, ssl.SSLEOFError):
            return (
                ENDED_TLS  # as of a store that goes away, or whose wish for a certificate the write was too early for
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, MASTER_NOT_FOUND):
        return SENTINEL_REFUSED if "AuthenticationError" in str(error) else NO_MASTER
    for raised in (error, error.__cause__):  # asyncio's driver wraps a refused password
        for kind, code in _CLASSES.items():
            if isinstance(raised, kind):
                return FAULTS[code]
    return fault_of(str(error)) if isinstance(error, exceptions.ResponseError) else None


def check_version(info: Mapping[str, Any]) -> str | None:
    """Judge INFO's server section: raises StoreTooOld below 6.2, answers a warning for versions past their support."""
    # Valkey reports the Redis version it is compatible with, for clients' sake, and its own beside it.
    name, text = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    version = tuple(int(part) for part in str(text).split(".")[:2])
    if version < MIN_VERSION:
        raise StoreTooOld(f"{name} {text} is too old: the queue needs 6.2 or newer")
    if version < GOOD_VERSION:
        return f"{name} {text} no longer gets security fixes; use 7.2 or newer"
    return None


def server_info(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """INFO's answer, whether from one server or (by node) from a cluster."""
    first = next(iter(answer.values()))
    return first if isinstance(first, Mapping) else answer


def check_mode(info: Mapping[str, Any], cluster: bool) -> None:
    """By INFO's server section. Raises StoreRefused for a store of another kind than the settings name."""
    mode = str(info.get("redis_mode", info.get("server_mode", "standalone")))
    if mode == "sentinel":
        raise StoreRefused(
            "store.url names a Sentinel, which stores nothing",
            advice="let store.url name the master, or set store.sentinels",
        )
    if mode == "cluster" and not cluster:
        raise StoreRefused("the store is a cluster and store.cluster is off", advice="set store.cluster")
