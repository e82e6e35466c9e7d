"""Salted names, which separate the data of callers in the store.

The salt is the settings', else one that the store keeps for all gateways. A store that lost its data gets it back from
the first gateway that looks. Where a gateway that started meanwhile made another, that one counts: the entries under
the old salt went with the data, and gateways of two salts would not find one another's requests ever after.
"""

import asyncio
import functools
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from service.broker.errors import BrokerError
from service.broker.gateway.patience import bridged

log = logging.getLogger(__name__)
LOOK_S = 5.0  # between two looks at the store's salt

StoredSalt = Callable[[bytes | None], Awaitable[bytes]]
"""The salt that the store keeps; where it has none, the one that is given, or a new one for None, from now on."""


class Tenants:
    """patience_s: how long the first name waits for a store that is away (seconds)."""

    def __init__(self, given_salt: bytes | None, stored_salt: StoredSalt, patience_s: float = 0.0) -> None:
        self._salt, self._stored, self._patience_s = given_salt, stored_salt, patience_s
        self._is_given = given_salt is not None

    async def named(self, *names: str) -> list[str]:
        """Raises StoreUnavailable."""
        if self._salt is None:
            self._salt = await bridged(functools.partial(self._stored, None), self._patience_s)
        salt = self._salt
        return [hmac.new(salt, name.encode(), hashlib.sha256).hexdigest()[:32] for name in names]

    async def follow(self, look_s: float = LOOK_S) -> None:
        """Until cancelled; at once where the settings give the salt."""
        while not self._is_given:
            await asyncio.sleep(look_s)
            with suppress(BrokerError):
                await self._look()

    async def _look(self) -> None:
        if self._salt is None:
            return
        stored = await self._stored(self._salt)
        if stored != self._salt:
            log.warning("the store has another salt than this gateway had: what it queued and stored is not found")
            self._salt = stored
