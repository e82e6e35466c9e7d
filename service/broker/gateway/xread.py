"""One XREAD over thousands of streams, again and again: a connection of its own and a command put together by hand.

The driver would pack two arguments a stream anew for every read and turn every entry into dictionaries; at a thousand
streams that is most of what a read costs. Here each stream keeps its name and its place as they go over the wire.
"""

import asyncio
from collections.abc import Collection
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool

RawEntries = list[tuple[bytes, list[bytes]]]  # id; field, value, field, value …


def bulk(text: bytes) -> bytes:
    """A string of the store's protocol."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


class StreamCursor:
    """How far a stream has been read; from the start at first."""

    __slots__ = ("after", "key", "name", "packed")

    def __init__(self, key: str) -> None:
        self.key = key.encode()
        self.name = bulk(self.key)
        self.rewind()

    def rewind(self) -> None:
        self.move(b"0-0")

    def move(self, entry_id: bytes) -> None:
        self.after, self.packed = entry_id, bulk(entry_id)


class StreamConnection:
    """Reads from a store that is one server. Not to be used by two tasks at once. Its connection is made as the pool
    makes them, and counts beside them.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool: Any = pool  # some of its methods bear no types
        self._connection: AbstractConnection | None = None

    async def read(self, places: Collection[StreamCursor], count: int, block_ms: int) -> list[tuple[bytes, RawEntries]]:
        """By stream at most `count` entries after each place, as soon as there are any. Raises the driver's errors."""
        if self._connection is None:
            self._connection = self._pool.make_connection()
        head = b"*%d\r\n$5\r\nXREAD\r\n" % (6 + 2 * len(places))
        options = [b"COUNT", b"%d" % count, b"BLOCK", b"%d" % block_ms, b"STREAMS"]
        names, afters = [place.name for place in places], [place.packed for place in places]
        parts = [head, *map(bulk, options), *names, *afters]
        whole = False
        try:
            await self._connection.send_packed_command(b"".join(parts), check_health=False)
            answer: Any = await self._connection.read_response(disable_decoding=True)
            whole = True
        finally:
            if not whole:  # an answer may still come, and must not be taken for the next one
                await asyncio.shield(self.close())
        return answer or []

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.disconnect(nowait=True)
