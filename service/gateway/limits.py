"""How much one key may ask for: requests and tokens a minute, and requests at once. Kept by each gateway for itself.

A bucket holds a minute's worth and fills evenly. Tokens are charged when an answer is whole, so a bucket may go below
zero once; the next request then waits for it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.gateway.errors import GatewayError

MINUTE = 60.0
MAX_TENANTS = 10_000  # buckets kept; full ones are forgotten first, which changes nothing


@dataclass(frozen=True, slots=True)
class Rates:
    """Per key; 0 is no limit."""

    requests: int = 0
    tokens: int = 0
    concurrent: int = 0


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


@dataclass(slots=True)
class _Account:
    buckets: dict[str, _Bucket] = field(default_factory=dict)
    running: int = 0


class RateLimiter:
    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates, self._clock = rates, clock
        self._limits = {"requests": rates.requests, "tokens": rates.tokens}
        self._accounts: dict[str, _Account] = {}

    @contextmanager
    def request(self, tenant: str) -> Iterator[None]:
        """A request from its start to its end. Raises `rate_limit_exceeded` with the time to wait."""
        account = self._account(tenant)
        if 0 < self._rates.concurrent <= account.running:
            raise _exceeded(f"{self._rates.concurrent} requests at once", 1.0)
        for name, least in (("tokens", 0.0), ("requests", 1.0)):
            self._check(account, name, least)
        if self._rates.requests:
            account.buckets["requests"].level -= 1
        account.running += 1
        try:
            yield
        finally:
            account.running -= 1

    def charge(self, tenant: str, tokens: int) -> None:
        if self._rates.tokens:
            self._bucket(self._account(tenant), "tokens").level -= tokens

    def headers(self, tenant: str) -> dict[str, str]:
        """`x-ratelimit-*` of the limits that apply."""
        headers = {}
        for name, limit in self._limits.items():
            if limit:
                bucket = self._bucket(self._account(tenant), name)
                headers[f"x-ratelimit-limit-{name}"] = str(limit)
                headers[f"x-ratelimit-remaining-{name}"] = str(max(0, int(bucket.level)))
                headers[f"x-ratelimit-reset-{name}"] = f"{(limit - bucket.level) * MINUTE / limit:.3f}s"
        return headers

    def _check(self, account: _Account, name: str, least: float) -> None:
        limit = self._limits[name]
        if limit and (level := self._bucket(account, name).level) < least:
            raise _exceeded(f"{limit} {name} a minute", (least - level) * MINUTE / limit)

    def _bucket(self, account: _Account, name: str) -> _Bucket:
        now, limit = self._clock(), self._limits[name]
        bucket = account.buckets.setdefault(name, _Bucket(limit, now))
        bucket.level = min(limit, bucket.level + (now - bucket.at) * limit / MINUTE)
        bucket.at = now
        return bucket

    def _account(self, tenant: str) -> _Account:
        if tenant not in self._accounts and len(self._accounts) >= MAX_TENANTS:
            idle = [name for name, account in self._accounts.items() if not account.running]
            for name in idle[: len(idle) // 2 + 1]:
                del self._accounts[name]
        return self._accounts.setdefault(tenant, _Account())


def _exceeded(limit: str, wait_s: float) -> GatewayError:
    return GatewayError("rate_limit_exceeded", f"The limit of this key is {limit}.", retry_after_s=wait_s)
