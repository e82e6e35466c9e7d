"""The names that callers give to media (`uuid` beside a part, as vLLM has it), so that the bytes need not come again.

A name stands for the bytes that were last sent with it, of the same tenant; cache entries stay named by their content.
"""

from typing import Any

from service.broker.connection import AsyncStore, store_errors
from service.broker.keys import Keys
from service.gateway.errors import GatewayError


class MediaUuids:
    """All methods raise StoreUnavailable."""

    def __init__(self, store: AsyncStore, keys: Keys, life_s: float) -> None:
        """`life_s`: how long a name stays after its last use."""
        self._store, self._keys, self._life = store, keys, round(life_s) + 1

    async def remember(self, tenant: str, uuid: str, sha256: str) -> None:
        with store_errors():
            await self._store.set(self._keys.media_uuid(tenant, uuid), sha256, ex=self._life)

    async def recall(self, tenant: str, uuid: str) -> str:
        """The SHA-256 of the bytes. Raises `invalid_media` for a name that is not known, or not any more."""
        key = self._keys.media_uuid(tenant, uuid)
        with store_errors():
            found: Any = await self._store.get(key)
            if found is not None:
                await self._store.expire(key, self._life)
        if found is None:
            raise not_cached()
        return bytes(found).decode()


def not_cached() -> GatewayError:
    return GatewayError("invalid_media", "no medium of this uuid is in the cache: send its bytes with it.")
