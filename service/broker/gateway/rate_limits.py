"""Limits of each key, kept in the store so that all gateways count together."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from service.broker import scripts
from service.broker.connection import AsyncStore, store_errors
from service.broker.keys import Keys

LEASE = 15.0  # seconds that a request in hand counts unless its gateway renews it: as long as a killed gateway's do


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Of one key; 0 is no limit. `requests` and `tokens` are a minute's, `concurrent` at once."""

    requests: int = 0
    tokens: int = 0
    concurrent: int = 0


@dataclass(frozen=True, slots=True)
class RateShare:
    """The rest of a key's limits; `exceeded` names the limit that refused it, for `wait_s` seconds."""

    exceeded: Literal["requests", "tokens", "at_once"] | None
    wait_s: float
    requests: float
    tokens: float


class RateStore:
    """The buckets of one store. All methods raise StoreUnavailable."""

    def __init__(self, store: AsyncStore, keys: Keys, rates: RateLimits, lease_s: float = LEASE) -> None:
        self._store, self._keys, self.rates, self.lease_s = store, keys, rates, lease_s

    async def take(self, tenant: str, name: str) -> RateShare:
        """Ask for one request; `name` stands for it among those in hand until `free`. A repeat by its name is free."""
        outcome, wait, requests, tokens = await self._run(tenant, "take", name)
        exceeded = None if outcome == b"ok" else outcome.decode()
        return RateShare(exceeded, int(wait) / 1000, float(requests), float(tokens))

    async def look(self, tenant: str) -> RateShare:
        """The rest of the key's limits, and the wait where no tokens are left; takes nothing."""
        outcome, wait, requests, tokens = await self._run(tenant, "look")
        return RateShare("tokens" if outcome == b"tokens" else None, int(wait) / 1000, float(requests), float(tokens))

    async def charge(self, tenant: str, tokens: int) -> None:
        """Tokens are charged when an answer is whole: the bucket may go below zero, and the next request waits."""
        await self._run(tenant, "charge", tokens)

    async def refund(self, tenant: str) -> None:
        """A request that was taken does not count."""
        await self._run(tenant, "refund")

    async def renew(self, tenant: str, names: Collection[str]) -> None:
        await self._run(tenant, "renew", *names)

    async def free(self, tenant: str, name: str) -> None:
        """The request has ended. A `take` of this name that the store gets later does nothing."""
        await self._run(tenant, "free", name)

    async def withdraw(self, tenant: str, name: str) -> None:
        """The same, and it does not count."""
        await self._run(tenant, "withdraw", name)

    async def _run(self, tenant: str, what: str, *arguments: str | int) -> Any:
        names, rates = (self._keys.rate(tenant), self._keys.running(tenant)), self.rates
        limits = (rates.requests, rates.tokens, rates.concurrent, round(self.lease_s * 1000))
        with store_errors():
            return await self._store.eval(scripts.RATE, 2, *names, what, *limits, *arguments)
