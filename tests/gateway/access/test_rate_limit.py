"""Rate limits of a key, counted by all gateways together: even buckets, tokens charged later, requests at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from service.broker.connection import AsyncStore, connect_async
from service.broker.errors import NoWorker, Overloaded
from service.broker.gateway.rate_limits import RateLimits, RateStore
from service.broker.keys import Keys
from service.gateway.access.rate_limit import RateLimiter
from service.gateway.errors import GatewayError
from tests.conftest import Valkey

Make = Callable[..., RateLimiter]


@pytest.fixture
async def store(valkey: Valkey) -> AsyncIterator[AsyncStore]:
    connection = connect_async(valkey.settings)
    yield connection
    await connection.aclose()


@pytest.fixture
async def make(store: AsyncStore) -> AsyncIterator[Make]:
    """A gateway's limiter; all share one store."""
    made: list[RateLimiter] = []

    def limiter(lease_s: float = 15.0, **rates: int) -> RateLimiter:
        made.append(RateLimiter(RateStore(store, Keys(), RateLimits(**rates), lease_s)))
        return made[-1]

    yield limiter
    for one in made:
        await one.close()


async def ask(limiter: RateLimiter, tenant: str = "a") -> dict[str, str]:
    async with limiter.lease(tenant) as admission:
        return admission.headers()


async def is_admitted(limiter: RateLimiter, tenant: str) -> bool:
    try:
        await ask(limiter, tenant)
    except GatewayError:
        return False
    return True


async def ask_on(limiter: RateLimiter) -> None:
    """Until refused: some requests come back while a slow machine asks."""
    for _ in range(1000):
        await ask(limiter)


async def test_requests_a_minute_are_counted_over_all_gateways_and_come_back_evenly(make: Make) -> None:
    first, second = make(requests=120), make(requests=120)
    for _ in range(60):
        await ask(first)
        await ask(second)
    with pytest.raises(GatewayError) as caught:
        await ask_on(second)
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.message == "The limit of this key is 120 requests a minute."
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 0.5
    await ask(first, "b")
    await asyncio.sleep(caught.value.retry_after_s)
    await ask(first)


async def test_two_gateways_at_once_never_give_more_than_there_is(make: Make) -> None:
    gateways = [make(requests=20) for _ in range(4)]
    begun = time.monotonic()
    outcomes = await asyncio.gather(*(ask(gateways[at % 4]) for at in range(60)), return_exceptions=True)
    come_back = (time.monotonic() - begun) * 20 / 60
    assert 20 <= sum(isinstance(outcome, dict) for outcome in outcomes) <= 20 + come_back


async def test_tokens_are_charged_afterwards_and_then_waited_for(make: Make) -> None:
    first, second = make(tokens=600), make(tokens=600)
    assert (await ask(first))["x-ratelimit-remaining-tokens"] == "600"
    charged = time.monotonic()
    await first.charge("a", 700)
    refused = second.lease("a")
    with pytest.raises(GatewayError) as caught:
        async with refused:
            pass
    assert 9.9 - (time.monotonic() - charged) <= caught.value.retry_after_s <= 10.0
    assert refused.headers()["x-ratelimit-remaining-tokens"] == "0"


async def test_requests_at_once_are_counted_until_they_end(make: Make) -> None:
    first, second = make(concurrent=1), make(concurrent=1)
    async with first.lease("a"):
        with pytest.raises(GatewayError, match="1 requests at once"):
            await ask(second)
        await ask(second, "b")
    await ask(second)


async def test_a_request_in_hand_counts_while_it_lasts_or_for_its_gateways_lease(make: Make) -> None:
    alive, dead, other = (make(lease_s=3.0, concurrent=1) for _ in range(3))
    async with alive.lease("a"), dead.lease("b"):
        await dead.close()  # renews no more
        async with asyncio.timeout(30):
            while not await is_admitted(other, "b"):
                await asyncio.sleep(0.05)
        assert not await is_admitted(other, "a")


async def test_without_limits_nothing_is_said_of_them_and_the_store_is_not_asked(make: Make, valkey: Valkey) -> None:
    assert await ask(make()) == {}
    assert valkey.client.keys() == []


async def test_what_is_kept_of_a_key_goes_when_its_buckets_are_full(make: Make, valkey: Valkey) -> None:
    limiter = make(requests=60, tokens=60, concurrent=2)
    async with limiter.lease("a"):
        await limiter.charge("a", 600)
        assert 600_000 < valkey.client.pttl(Keys().rate("a")) <= 661_000
        assert 0 < valkey.client.pttl(Keys().running("a")) <= 15_000


async def test_a_request_that_no_worker_could_take_does_not_count(make: Make) -> None:
    limiter = make(requests=2)
    for error in (NoWorker("none"), Overloaded("full")):
        for _ in range(3):
            lease = limiter.lease("a")
            with pytest.raises(type(error)):
                async with lease:
                    raise error
            assert lease.headers()["x-ratelimit-remaining-requests"] == "2"
    for _ in range(2):
        await ask(limiter)
    with pytest.raises(GatewayError, match="2 requests a minute"):
        await ask(limiter)
