"""Idempotency keys name the request they were first sent with: no gateway runs a request again that is sent again."""

import hashlib
from dataclasses import dataclass
from typing import Any

from service.broker import scripts
from service.broker.connection import AsyncStore, store_errors
from service.broker.keys import Keys


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """The request of a key, and the hash of its body: another body under the same key is a mistake. `repeats` that send
    the request in again change the claim: the first try, which was turned away, may release it late."""

    request_id: str
    fingerprint: str
    repeats: int = 0

    def __str__(self) -> str:
        return f"{self.request_id} {self.fingerprint} {self.repeats}"


class IdempotencyKeys:
    """The claims of one store. All methods raise StoreUnavailable."""

    def __init__(self, store: AsyncStore, keys: Keys, life_s: float) -> None:
        self._store, self._keys, self._life = store, keys, round(life_s) + 1

    async def make(self, tenant: str, key: str, claim: KeyClaim, instead_of: KeyClaim | None = None) -> KeyClaim:
        """Claim a key that is free or stands for `instead_of`. Returns the claim that holds now."""
        known = "" if instead_of is None else str(instead_of)
        with store_errors():
            held: Any = await self._store.eval(scripts.CLAIM, 1, self._name(tenant, key), str(claim), known, self._life)
        request_id, digest, repeats = held.decode().split(" ")
        return KeyClaim(request_id, digest, int(repeats))

    async def release(self, tenant: str, key: str, claim: KeyClaim) -> None:
        """The request was not taken in: the key is free again."""
        with store_errors():
            await self._store.eval(scripts.RELEASE, 1, self._name(tenant, key), str(claim))

    def _name(self, tenant: str, key: str) -> str:
        return self._keys.retry(tenant, hashlib.sha256(key.encode()).hexdigest())
