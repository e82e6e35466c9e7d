"""What callers use: tokens off a key's limit and into the metric, once a request, whoever reads its answer."""

from dataclasses import dataclass

from prometheus_client import Counter

from service.gateway.access.rate_limit import RateLimiter


@dataclass(frozen=True, slots=True)
class UsageMeter:
    """`tokens` has the labels key_class and kind (prompt, completion)."""

    limiter: RateLimiter
    tokens: Counter

    async def charge(self, tenant: str, key_class: str, prompt: int, completion: int = 0) -> None:
        """Count first: a store that is away loses the charge and not the figure."""
        for kind, count in (("prompt", prompt), ("completion", completion)):
            if count:
                self.tokens.labels(key_class, kind).inc(count)
        await self.limiter.charge(tenant, prompt + completion)
