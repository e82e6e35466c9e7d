"""The order of decoding: tenants share by time used, a new one is never behind another's backlog."""

import asyncio

import pytest

from service.gateway.decoding.fair_queue import FairQueue
from service.gateway.errors import GatewayError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Children:
    """One child that decodes what comes next, and whose media take as long as `cost` says."""

    def __init__(self, cost: dict[str, float], max_waiting: int = 1000) -> None:
        self.clock, self._cost = Clock(), cost
        self.queue: FairQueue[None] = FairQueue(max_waiting, self.clock)
        self._owner: dict[asyncio.Future[None], str] = {}

    def send(self, tenant: str, count: int = 1) -> list[asyncio.Future[None]]:
        places = [self.queue.enter(tenant) for _ in range(count)]
        self._owner |= dict.fromkeys(places, tenant)
        return places

    def decode(self) -> str:
        place = self.queue.next(self.queue.tenants())
        tenant = self._owner[place]
        self.clock.now += self._cost.get(tenant, 1.0)
        self.queue.ended(tenant)
        return tenant


async def test_one_medium_of_a_newcomer_comes_before_a_backlog() -> None:
    children = Children({})
    children.send("a", 150)
    assert [children.decode() for _ in range(10)] == ["a"] * 10
    children.send("b")
    assert "b" in [children.decode() for _ in range(2)]


async def test_tenants_get_equal_time_not_equal_numbers() -> None:
    """A cheap file with a large picture in it counts by what it took."""
    children = Children({"bombs": 9.0, "small": 1.0})
    children.send("bombs", 100)
    children.send("small", 100)
    served = [children.decode() for _ in range(50)]
    assert served.count("small") == pytest.approx(9 * served.count("bombs"), abs=9)


async def test_a_tenant_that_was_away_saves_no_time_up() -> None:
    children = Children({})
    children.send("a", 100)
    [children.decode() for _ in range(50)]
    children.send("b", 100)
    served = [children.decode() for _ in range(20)]
    assert abs(served.count("a") - served.count("b")) <= 1


async def test_a_tenant_that_leaves_and_returns_takes_its_debt_along() -> None:
    children = Children({"a": 10.0})
    children.send("b", 100)
    children.send("a")
    while children.decode() != "a":
        pass
    children.send("a")
    served = [children.decode() for _ in range(12)]
    assert served.index("a") >= 8


async def test_a_full_queue_takes_a_place_from_the_tenant_that_holds_most() -> None:
    children = Children({}, max_waiting=10)
    backlog = children.send("a", 10)
    with pytest.raises(GatewayError) as caught:
        children.send("a")
    assert caught.value.code == "overloaded"
    children.send("b")
    assert [place.done() for place in backlog] == [False] * 9 + [True]
    refusal = backlog[-1].exception()
    assert isinstance(refusal, GatewayError)
    assert refusal.code == "overloaded"
    assert len(children.queue) == 10


async def test_nothing_is_remembered_of_tenants_once_all_are_away() -> None:
    children = Children({})
    for number in range(100):
        children.send(f"tenant {number}")
        children.decode()
    assert not children.queue._used
