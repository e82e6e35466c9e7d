import asyncio
import math

from service.broker.gateway.timeouts import LazyTimeout
from tests.wire import until


class Rung:
    """Times at which an alarm rang, in seconds since the beginning."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.at: list[float] = []

    def __call__(self) -> None:
        self.at.append(self.loop.time() - self.began)


async def test_it_rings_once_its_time_has_come() -> None:
    rung = Rung()
    LazyTimeout(rung).set(0.05)
    await until(lambda: rung.at)
    assert len(rung.at) == 1
    assert rung.at[0] >= 0.049


async def test_what_is_lifted_or_closed_does_not_ring() -> None:
    rung = Rung()
    lifted, closed = LazyTimeout(rung), LazyTimeout(rung)
    lifted.set(0.02)
    closed.set(0.02)
    lifted.due = math.inf
    closed.close()
    await asyncio.sleep(0.1)
    assert rung.at == []
    lifted.set(0.02)
    await until(lambda: rung.at)
    assert len(rung.at) == 1


async def test_the_last_setting_counts_whether_it_is_later_or_sooner() -> None:
    later, sooner = Rung(), Rung()
    put_off, brought_on = LazyTimeout(later), LazyTimeout(sooner)
    put_off.set(0.05)
    put_off.set(0.3)
    brought_on.set(60)
    brought_on.set(0.05)
    await until(lambda: later.at and sooner.at)
    assert [time >= 0.299 for time in later.at] == [True]
    assert [time >= 0.049 for time in sooner.at] == [True]


async def test_setting_it_a_thousand_times_makes_one_timer() -> None:
    loop = asyncio.get_running_loop()
    made: list[float] = []
    call_at = loop.call_at
    loop.call_at = lambda when, *rest, **named: made.append(when) or call_at(when, *rest, **named)
    alarm = LazyTimeout(lambda: None)
    for _ in range(1000):
        alarm.set(60)
        alarm.due = math.inf
    alarm.close()
    assert len(made) == 1
