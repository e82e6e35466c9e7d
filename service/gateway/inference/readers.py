"""What gateways note of a request beside the broker's record, so that any of them can fold, and guard, its events."""

import secrets
from typing import Any

import msgspec

from service.broker.connection import AsyncStore, store_errors
from service.broker.keys import Keys
from service.gateway.errors import GatewayError
from service.gateway.streaming.chunks import ResponseMetadata

SALT_BYTES = 32
_decoder = msgspec.msgpack.Decoder(ResponseMetadata)


class RequestReaders:
    """All methods raise StoreUnavailable."""

    def __init__(self, store: AsyncStore, keys: Keys, life_s: float) -> None:
        """`life_s` from a request's start or its last reader's coming."""
        self._store, self._keys, self._life = store, keys, round(life_s) + 1

    async def create(self, answer: ResponseMetadata, grace_s: float) -> ResponseMetadata:
        """Note a request whose first reader is its sender; what was noted first where it is sent twice at once."""
        key = self._keys.note(answer.id)
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.hsetnx(key, "answer", msgspec.msgpack.encode(answer))
            pipe.hsetnx(key, "grace", repr(grace_s))
            pipe.hincrby(key, "readers", 1)
            pipe.hincrby(key, "attached", 1)
            pipe.expire(key, self._life)
            pipe.hget(key, "answer")
            *_, noted = await pipe.execute()
        return _decoder.decode(noted)

    async def answer(self, request_id: str) -> ResponseMetadata:
        """Raises `request_not_found`."""
        with store_errors():
            found: Any = await self._store.execute_command("HGET", self._keys.note(request_id), "answer")
        if found is None:
            raise GatewayError("request_not_found", "There is no such request with a stream.")
        return _decoder.decode(found)

    async def attach(self, request_id: str) -> None:
        """One more reader of a request that exists."""
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.hincrby(self._keys.note(request_id), "readers", 1)
            pipe.hincrby(self._keys.note(request_id), "attached", 1)
            pipe.expire(
                self._keys.note(request_id), self._life
            )  # also where it expired just now: no key lives for ever
            await pipe.execute()

    async def detach(self, request_id: str) -> tuple[int, int, float]:
        """One reader less; how many are left, how many ever came, and how long the request lives without any."""
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.hincrby(self._keys.note(request_id), "readers", -1)
            pipe.hincrby(self._keys.note(request_id), "attached", 0)
            pipe.expire(self._keys.note(request_id), self._life)
            pipe.hget(self._keys.note(request_id), "grace")
            readers, attached, _, grace = await pipe.execute()
        return int(readers), int(attached), float(grace or 0)

    async def attached(self, request_id: str) -> int:
        with store_errors():
            found: Any = await self._store.execute_command("HGET", self._keys.note(request_id), "attached")
        return int(found or 0)

    async def salt(self) -> bytes:
        """The store's salt, made if there is none."""
        key = self._keys.salt
        with store_errors():
            await self._store.set(key, secrets.token_bytes(SALT_BYTES), nx=True)
            salt: Any = await self._store.get(key)
        return bytes(salt)
