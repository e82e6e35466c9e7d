"""redis-py's blocking connections, in which a store that went away is an error once, also where it is back already.

The driver finds, before a command, that the store closed an idle connection, and connects anew without a word. It may
be another store by then, the next master for one, that lacks the latest writes: who writes in order has to know.
"""

from collections.abc import Mapping
from typing import Any

from redis.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import ConnectionError as StoreConnectionError
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection


class _Reporting(AbstractConnection):
    _closed = False

    def can_read(self, timeout: float = 0) -> bool:
        """The driver's look before a command: true or raising where the connection is of no use any more."""
        self._closed = True
        self._closed = super().can_read(timeout)
        return self._closed

    def connect(self) -> None:
        if self._closed:
            self._closed = False
            raise StoreConnectionError("the store closed the connection")
        super().connect()  # type: ignore[no-untyped-call]  # the driver's


class ReportingConnection(_Reporting, Connection):
    pass


class ReportingTLSConnection(_Reporting, SSLConnection):
    pass


class ReportingUnixConnection(_Reporting, UnixDomainSocketConnection):
    pass


class ReportingSentinelConnection(_Reporting, SentinelManagedConnection):
    pass


class ReportingSentinelTLSConnection(_Reporting, SentinelManagedSSLConnection):
    pass


REPORTING: Mapping[type[Any], type[Any]] = {
    Connection: ReportingConnection,
    SSLConnection: ReportingTLSConnection,
    UnixDomainSocketConnection: ReportingUnixConnection,
    SentinelManagedConnection: ReportingSentinelConnection,
    SentinelManagedSSLConnection: ReportingSentinelTLSConnection,
}


class ReportingPool(ConnectionPool):
    """A pool of such connections, of which the driver makes one for each node of a cluster."""

    def __init__(self, connection_class: type[Any] = Connection, **options: Any) -> None:
        super().__init__(connection_class=REPORTING[connection_class], **options)
