"""Rate limits of a key, counted by all gateways together: even buckets, tokens charged later, requests at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import httpx
import pytest

from service.broker.connection import AsyncStore, connect_async
from service.broker.errors import NoWorker, Overloaded, StoreUnavailable
from service.broker.gateway.rate_limits import RateLimits, RateStore
from service.broker.keys import Keys
from service.gateway.access.rate_limit import RateLimiter
from service.gateway.errors import GatewayError
from tests.chaos.store_proxy import UNTIL_IT_LEAVES, Harm, store_proxy
from tests.conftest import Valkey
from tests.fakes import worker_thread
from tests.gateway.conftest import make_settings, serving

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


@pytest.mark.parametrize("harm", ["cut", "answer lost", "stopped"])
async def test_a_share_that_the_store_failed_to_give_or_take_back_holds_nobody_up(
    harm: Harm, make: Make, valkey: Valkey
) -> None:
    """One request at once and a lease of an hour: the next is admitted only where this one was let go of. One a
    minute: only where it did not count, since it found no store."""
    socket, far = valkey.url.removeprefix("unix://"), {kind: make(**{kind: 1}) for kind in ("concurrent", "requests")}
    for kind, at in (("concurrent", 1), ("concurrent", 2), ("requests", 1), ("requests", 2)):
        async with store_proxy(socket, at, harm, UNTIL_IT_LEAVES) as (proxy, url):
            store = connect_async(valkey.settings.model_copy(update={"url": url, "command_timeout_s": 0.4}))
            near = RateLimiter(RateStore(store, Keys(), RateLimits(**{kind: 1}), lease_s=3600.0))
            tenant = f"{kind} {at}"
            with suppress(StoreUnavailable):
                async with near.lease(tenant):
                    if kind == "requests":
                        raise StoreUnavailable("away")
            async with asyncio.timeout(30):
                while not await is_admitted(far[kind], tenant):
                    await asyncio.sleep(0.02)
            assert proxy.harmed
            await near.close()
            await store.aclose()


async def test_a_caller_who_leaves_before_the_share_is_given_holds_nobody_up(make: Make, valkey: Valkey) -> None:
    socket, far = valkey.url.removeprefix("unix://"), make(concurrent=1)
    async with store_proxy(socket, 1, "stopped") as (proxy, url):
        store = connect_async(valkey.settings.model_copy(update={"url": url}))
        near = RateLimiter(RateStore(store, Keys(), RateLimits(concurrent=1), lease_s=3600.0))
        waiting = asyncio.create_task(ask(near))
        async with asyncio.timeout(30):
            while not proxy.harmed:
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            while not await is_admitted(far, "a"):
                await asyncio.sleep(0.02)
        await near.close()
        await store.aclose()


async def test_a_share_is_taken_once_under_its_name(store: AsyncStore) -> None:
    shares = RateStore(store, Keys(), RateLimits(requests=1, concurrent=1))
    for _ in range(2):
        assert (await shares.take("a", "one")).exceeded is None
    assert (await shares.take("a", "two")).exceeded == "at_once"
    for _ in range(2):
        await shares.withdraw("a", "one")
    assert (await shares.take("a", "two")).exceeded is None
    assert (await shares.look("a")).requests < 1


@pytest.mark.parametrize("end", [RateStore.free, RateStore.withdraw])
async def test_a_share_that_was_let_go_of_is_not_taken_late(
    end: Callable[[RateStore, str, str], Awaitable[None]], store: AsyncStore
) -> None:
    """The store may get a take that timed out, or a renewal, after the request's end."""
    shares = RateStore(store, Keys(), RateLimits(concurrent=1))
    await end(shares, "a", "one")
    await shares.take("a", "one")
    await shares.renew("a", ["one"])
    assert (await shares.take("a", "two")).exceeded is None
    assert (await shares.take("a", "three")).exceeded == "at_once"


async def test_a_limit_that_is_new_owes_nothing_of_the_time_before(make: Make) -> None:
    before = make(concurrent=2)
    for _ in range(5):
        await ask(before)
        await before.charge("a", 1000)
    for limit in ("requests", "tokens"):
        now = make(**{limit: 3})
        assert (await ask(now))[f"x-ratelimit-remaining-{limit}"] in ("2", "3")


def test_a_stream_that_was_read_to_its_end_counts_no_longer(valkey: Valkey) -> None:
    """For its caller the last bytes are the sign to send the next request."""
    settings = make_settings(valkey, max_concurrent=1)
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "stream": True}
    with serving(settings) as (url, _), worker_thread(valkey.settings), httpx.Client(trust_env=False) as client:
        for _ in range(40):
            with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
                assert answer.status_code == 200, answer.read()
                assert b"[DONE]" in answer.read()
