"""What gateways note of a request beside the broker's record, so that any of them can fold, and guard, its events.

<namespace>:note:{request}   hash; life as the request's record at least
    answer      `sse.Answer` as MessagePack, under 300 B
    readers     how many callers read its events now
    attached    how often anyone began to read, so that a wait for the next reader knows whether one came
<namespace>:salt             string; no expiry
    32 random bytes that separate tenants, where the settings give no salt. Written once, by the first gateway.
"""

import secrets
from typing import Any

import msgspec

from service.broker.store import AsyncStore, store_errors
from service.gateway.errors import GatewayError
from service.gateway.sse import Answer

SALT_BYTES = 32
_decoder = msgspec.msgpack.Decoder(Answer)


class Notes:
    """All methods raise StoreUnavailable."""

    def __init__(self, store: AsyncStore, namespace: str, life_s: float) -> None:
        """`life_s` from a request's start or its last reader's coming."""
        self._store, self._namespace, self._life = store, namespace, round(life_s) + 1

    async def create(self, answer: Answer) -> None:
        """Note a request whose first reader is its sender."""
        fields: dict[Any, Any] = {"answer": msgspec.msgpack.encode(answer), "readers": 1, "attached": 1}
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.hset(self._key(answer.id), mapping=fields)
            pipe.expire(self._key(answer.id), self._life)
            await pipe.execute()

    async def answer(self, request_id: str) -> Answer:
        """Raises `request_not_found`."""
        with store_errors():
            found: Any = await self._store.execute_command("HGET", self._key(request_id), "answer")
        if found is None:
            raise GatewayError("request_not_found", "There is no such request with a stream.")
        return _decoder.decode(found)

    async def attach(self, request_id: str) -> None:
        """One more reader of a request that exists."""
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.hincrby(self._key(request_id), "readers", 1)
            pipe.hincrby(self._key(request_id), "attached", 1)
            pipe.expire(self._key(request_id), self._life)  # also where it expired just now: no key lives for ever
            await pipe.execute()

    async def detach(self, request_id: str) -> tuple[int, int]:
        """One reader less; how many are left, and how many ever came."""
        with store_errors():
            pipe: Any = self._store.pipeline(transaction=False)
            pipe.hincrby(self._key(request_id), "readers", -1)
            pipe.hincrby(self._key(request_id), "attached", 0)
            pipe.expire(self._key(request_id), self._life)
            readers, attached, _ = await pipe.execute()
        return int(readers), int(attached)

    async def attached(self, request_id: str) -> int:
        with store_errors():
            found: Any = await self._store.execute_command("HGET", self._key(request_id), "attached")
        return int(found or 0)

    async def salt(self) -> bytes:
        """The store's salt, made if there is none."""
        key = f"{self._namespace}:salt"
        with store_errors():
            await self._store.set(key, secrets.token_bytes(SALT_BYTES), nx=True)
            salt: Any = await self._store.get(key)
        return bytes(salt)

    def _key(self, request_id: str) -> str:
        return f"{self._namespace}:note:{{{request_id}}}"
