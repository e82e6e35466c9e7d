"""Numbers of clients that read a request: counts in its record, so that any gateway sees that the last one left."""

from dataclasses import dataclass
from typing import Any

from service.broker import scripts
from service.broker.connection import AsyncStore, store_errors
from service.broker.keys import Keys


@dataclass(frozen=True, slots=True)
class Readers:
    """`now` read, `ever` came; without readers the request lives `grace_s` seconds more."""

    now: int
    ever: int
    grace_s: float


class RequestReaders:
    """All methods raise StoreUnavailable. The requests must exist."""

    def __init__(self, store: AsyncStore, keys: Keys, life_s: float) -> None:
        """`life_s`: seconds that the record lives at least after a reader came or left."""
        self._store, self._keys, self._life = store, keys, round(life_s) + 1

    async def attach(self, request_id: str, reader: str) -> None:
        """One more client reads, under a name of its own. A repeat counts once, and not after the client left."""
        with store_errors():
            await self._store.eval(scripts.ATTACH, 1, self._keys.record(request_id), reader, self._life)

    async def detach(self, request_id: str) -> Readers:
        """One client less reads; the counts after that."""
        return await self._count(request_id, readers=-1)

    async def count(self, request_id: str) -> Readers:
        return await self._count(request_id, readers=0)

    async def _count(self, request_id: str, readers: int) -> Readers:
        key = self._keys.record(request_id)
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.hincrby(key, "readers", readers)
            pipe.hincrby(key, "attached", 0)
            pipe.expire(key, self._life)  # also where it expired just now: no key lives for ever
            pipe.hget(key, "grace")
            now, ever, _, grace = await pipe.execute()
        return Readers(int(now), int(ever), float(grace or 0))
