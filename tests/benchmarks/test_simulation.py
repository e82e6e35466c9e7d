"""The simulator of a fleet against closed forms."""

import math
import random

import pytest

from benchmarks.simulation.queueing import Arrival, WorkerModel, simulate


def poisson(rate: float, count: int, tokens: int, geometric: bool, chance: random.Random) -> list[Arrival]:
    at, made = 0.0, []
    for _ in range(count):
        at += chance.expovariate(rate)
        length = 1 + int(math.log(1 - chance.random()) / math.log(1 - 1 / tokens)) if geometric else tokens
        made.append(Arrival(at, length))
    return made


def erlang_c(servers: int, offered: float) -> float:
    """The probability that a request of M/M/c waits, `offered` in Erlangs."""
    terms = [offered**n / math.factorial(n) for n in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(terms) + last)


@pytest.mark.parametrize("servers", [1, 3])
def test_the_mean_wait_is_that_of_erlang_s_formula(servers: int) -> None:
    """One sequence a worker and answers of geometric lengths: M/M/c, the turns being short beside an answer."""
    tokens, turn, load = 20, 0.05, 0.7
    service, offered = tokens * turn, load * servers
    arrivals = poisson(offered / service, 30_000, tokens, True, random.Random(7))
    outcome = simulate(arrivals, servers, WorkerModel(sequences=1, turn_s=turn))
    expected = erlang_c(servers, offered) * service / (servers - offered)
    assert len(outcome.served) == len(arrivals)
    assert outcome.queued == pytest.approx(expected, rel=0.1)
    assert outcome.whole == pytest.approx(expected + service, rel=0.1)


def test_a_burst_is_served_at_the_rate_of_the_workers() -> None:
    """Eight sequences and two workers: the last of 160 requests of ten turns ends after ten rounds of ten turns."""
    arrivals = [Arrival(0.0, 10)] * 160
    outcome = simulate(arrivals, 2, WorkerModel(sequences=8, turn_s=0.1))
    assert outcome.tokens == 1600
    assert max(one.whole for one in outcome.served) == pytest.approx(10.0, rel=0.15)


def test_an_encoder_that_is_busy_delays_those_behind_it() -> None:
    arrivals = [Arrival(0.0, 1, encode_s=1.0)] * 3
    outcome = simulate(arrivals, 1, WorkerModel(sequences=8, turn_s=0.001))
    assert sorted(round(one.whole) for one in outcome.served) == [1, 2, 3]
