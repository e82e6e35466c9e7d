"""redis-py's blocking connections, in which a store that went away is an error, also where it is back already.

The driver finds, before a command, that the store closed an idle connection, and connects anew without a word. It may
be another store by then, the next master for one, that lacks the latest writes: a writer of ordered events has to know.
So after a socket that the store closed, the first try to connect anew fails; also where a command has failed by that
end.
"""

import select
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
    _was_closed = False  # by the store

    def disconnect(self, *arguments: Any, **options: Any) -> None:
        sock: Any = self._sock
        if sock is not None:
            self._was_closed = _is_readable(sock)  # between an answer and the next command: by its end alone
        super().disconnect(*arguments, **options)  # type: ignore[no-untyped-call]  # the driver's

    def _connect(self) -> Any:
        """The driver's way to a new socket."""
        if self._was_closed:
            self._was_closed = False
            raise StoreConnectionError("the store closed the connection")
        return super()._connect()  # type: ignore[no-untyped-call, safe-super]  # the driver's


def _is_readable(sock: Any) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


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
