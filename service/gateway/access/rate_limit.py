"""Limits of one key: requests and tokens a minute, and requests at once, counted by all gateways together.

A bucket holds a minute's worth and fills evenly. Tokens are charged when an answer is whole, so a bucket may go below
zero once; the next request then waits for it. Without limits the store is not asked.
"""

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType

from prometheus_client import Counter

from service.broker.errors import BrokerError, StoreUnavailable
from service.broker.gateway.patience import bridged
from service.broker.gateway.rate_limits import RateShare, RateStore
from service.gateway.background import BackgroundTasks
from service.gateway.errors import GatewayError

log = logging.getLogger(__name__)
MINUTE = 60.0
STORE_WAIT_S = 2.0  # seconds until a store that failed is asked again


class RateLimiter:
    """One gateway's side: which requests it has in hand, and their renewal while they last."""

    def __init__(self, store: RateStore, patience_s: float = 0.0) -> None:
        self._store, self.rates, self._patience_s = store, store.rates, patience_s
        self.limits = any((self.rates.requests, self.rates.tokens, self.rates.concurrent))  # any limit
        self._held: defaultdict[str, set[str]] = defaultdict(set)
        self._renewal: asyncio.Task[None] | None = None
        self._ends = BackgroundTasks()

    def lease(self, tenant: str) -> "RateLimitLease":
        """A request of this tenant, from its start to its end: `async with`."""
        return RateLimitLease(self, tenant)

    async def charge(self, tenant: str, tokens: int) -> None:
        if self.rates.tokens:
            with suppress(StoreUnavailable):  # the answer was given; that it was not counted is no reason to fail it
                await self._store.charge(tenant, tokens)

    async def token_wait(self, tenant: str) -> float:
        """Seconds until the tenant's tokens are not used up; 0 where they are not, or are not limited."""
        if not self.rates.tokens:
            return 0.0
        try:
            return (await self._store.look(tenant)).wait_s
        except StoreUnavailable:
            return STORE_WAIT_S

    async def take(self, tenant: str, name: str) -> RateShare | None:
        """The tenant's share after this request, None where nothing is limited. Raises StoreUnavailable.

        A request that failed here, or whose caller left, does not count, though the store may have taken it.
        """
        if not self.limits:
            return None
        try:
            share = await bridged(lambda: self._store.take(tenant, name), self._patience_s)
        except (StoreUnavailable, asyncio.CancelledError):
            self._finish(self._store.withdraw, tenant, name)
            raise
        if share.exceeded is None:
            self._held[tenant].add(name)
            if self._renewal is None:
                self._renewal = asyncio.create_task(self._renew(), name="limits")
        return share

    async def refund(self, tenant: str) -> None:
        """A request that only repeats another does not count."""
        if self.rates.requests:
            with suppress(StoreUnavailable):
                await self._store.refund(tenant)

    async def free(self, tenant: str, name: str) -> None:
        """The request has ended."""
        if self._release(tenant, name) and self.rates.concurrent:
            await self._finish(self._store.free, tenant, name).wait()

    async def withdraw(self, tenant: str, name: str) -> None:
        """The request has ended, and does not count."""
        if self._release(tenant, name):
            await self._finish(self._store.withdraw, tenant, name).wait()

    async def close(self) -> None:
        await self._ends.close()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    def _release(self, tenant: str, name: str) -> bool:
        """Whether it was held."""
        if name not in self._held.get(tenant, ()):
            return False
        self._held[tenant].discard(name)
        if not self._held[tenant]:
            del self._held[tenant]
        return True

    def _finish(self, end: Callable[[str, str], Awaitable[None]], tenant: str, name: str) -> asyncio.Event:
        """Begin a request's end, which goes on without its caller until the store has it or the lease is over."""
        return self._ends.until_stored(lambda: end(tenant, name), self._store.lease_s)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._store.lease_s / 3)
            for tenant, names in list(self._held.items()):
                try:
                    await self._store.renew(tenant, list(names))
                except StoreUnavailable as error:
                    log.warning("requests in hand could not be renewed", extra={"error": error.code})


class RateLimitLease:
    """One request under its tenant's limits. Entering raises `rate_limit_exceeded` with the time to wait.

    A request that ends with an error of the broker's (no worker, a full queue, no store) does not count.
    """

    def __init__(self, limiter: RateLimiter, tenant: str) -> None:
        self._limiter, self._tenant, self._name = limiter, tenant, uuid.uuid4().hex
        self._share: RateShare | None = None

    async def __aenter__(self) -> "RateLimitLease":
        self._share = share = await self._limiter.take(self._tenant, self._name)
        if share is not None and share.exceeded is not None:
            rates = self._limiter.rates
            limit = {
                "requests": f"{rates.requests} requests a minute",
                "tokens": f"{rates.tokens} tokens a minute",
                "at_once": f"{rates.concurrent} requests at once",
            }[share.exceeded]
            raise GatewayError("rate_limit_exceeded", f"The limit of this key is {limit}.", retry_after_s=share.wait_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, BrokerError) and self._share is not None:
            self._share = replace(self._share, requests=min(self._limiter.rates.requests, self._share.requests + 1))
            await self._limiter.withdraw(self._tenant, self._name)
        await self._limiter.free(self._tenant, self._name)

    def headers(self) -> dict[str, str]:
        """`x-ratelimit-*` of the limits that apply, as this request found them; also where it was refused."""
        if self._share is None:
            return {}
        rates, share, headers = self._limiter.rates, self._share, dict[str, str]()
        for name, limit, left in (
            ("requests", rates.requests, share.requests),
            ("tokens", rates.tokens, share.tokens),
        ):
            if limit:
                headers[f"x-ratelimit-limit-{name}"] = str(limit)
                headers[f"x-ratelimit-remaining-{name}"] = str(max(0, int(left)))
                headers[f"x-ratelimit-reset-{name}"] = f"{(limit - left) * MINUTE / limit:.3f}s"
        return headers


@dataclass(frozen=True, slots=True)
class UsageMeter:
    """Tokens that callers used: off a key's limit and into the metric, once a request.

    `tokens` has the labels key_class and kind (prompt, completion).
    """

    limiter: RateLimiter
    tokens: Counter

    async def charge(self, tenant: str, key_class: str, prompt: int, completion: int = 0) -> None:
        """Count first: a store that is away loses the charge and not the figure."""
        for kind, count in (("prompt", prompt), ("completion", completion)):
            if count:
                self.tokens.labels(key_class, kind).inc(count)
        await self.limiter.charge(tenant, prompt + completion)
