"""Rates of a key: buckets that fill evenly, tokens charged afterwards, requests at once."""

import pytest

from service.gateway.errors import GatewayError
from service.gateway.limits import MAX_TENANTS, RateLimiter, Rates


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_requests_a_minute_come_back_evenly() -> None:
    clock = Clock()
    limiter = RateLimiter(Rates(requests=60), clock)
    for _ in range(60):
        with limiter.request("a"):
            pass
    with pytest.raises(GatewayError) as caught, limiter.request("a"):
        pass
    assert (caught.value.code, caught.value.retry_after_s) == ("rate_limit_exceeded", 1.0)
    with limiter.request("b"):
        pass
    clock.now = 1.0
    with limiter.request("a"):
        pass


def test_tokens_are_charged_afterwards_and_then_waited_for() -> None:
    clock = Clock()
    limiter = RateLimiter(Rates(tokens=600), clock)
    with limiter.request("a"):
        limiter.charge("a", 700)
    assert limiter.headers("a")["x-ratelimit-remaining-tokens"] == "0"
    with pytest.raises(GatewayError) as caught, limiter.request("a"):
        pass
    assert caught.value.retry_after_s == pytest.approx(10.0)
    clock.now = 10.0
    with limiter.request("a"):
        pass


def test_requests_at_once_are_counted_until_they_end() -> None:
    limiter = RateLimiter(Rates(concurrent=1))
    with limiter.request("a"):
        with pytest.raises(GatewayError), limiter.request("a"):
            pass
        with limiter.request("b"):
            pass
    with limiter.request("a"):
        pass


def test_without_limits_nothing_is_said_of_them() -> None:
    limiter = RateLimiter(Rates())
    with limiter.request("a"):
        assert limiter.headers("a") == {}


def test_the_accounts_kept_are_bounded_and_running_ones_stay() -> None:
    limiter = RateLimiter(Rates(concurrent=1))
    with limiter.request("first"):
        for number in range(MAX_TENANTS + 10):
            with limiter.request(f"t{number}"):
                pass
        with pytest.raises(GatewayError), limiter.request("first"):
            pass
