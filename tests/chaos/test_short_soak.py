"""The short form of the soak (`soak.py`): some dozens of requests while things go wrong, and while all is replaced."""

import asyncio
import json
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import callers
from tests.chaos.checker import Verdict, judge
from tests.chaos.house import LOST_AFTER_S, House, house
from tests.chaos.soak import Measured, Report, markdown, soak, write

REQUESTS = 60
DEEDS = {"kill worker": 3, "roll worker": 2, "freeze worker": 2, "kill gateway": 2, "freeze store": 1, "kill store": 1}


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house"), gateways=2, workers=3, step_delay=0.03, drain_grace_s=1.0) as made:
        yield made


async def test_nothing_is_lost_doubled_or_crossed_and_everything_ends_once(building: House) -> None:
    report = await soak(building, REQUESTS, deeds=4, at_once=10, every_s=0.5, weights=DEEDS, seed=3)
    verdict = report.verdict
    assert verdict.intact, verdict.wrong
    assert verdict.good + verdict.failed == verdict.requests >= REQUESTS
    # Clear ends that a kill may bring: three workers in a row, or a request in the store's last second.
    assert set(verdict.codes) <= {"worker_lost", "store_unavailable"}, verdict.codes
    assert verdict.failed <= 3, verdict.codes
    assert sum(report.deeds.values()) >= 4, report.deeds
    assert not any(count for name, count in report.left.items() if name != "dead letters"), report.left
    assert "| lost | 0 |" in markdown(report, {})


def test_a_report_of_failures_and_later_answers_is_written(tmp_path: Path) -> None:
    verdict = Verdict(requests=3, failed=1, codes=Counter({"worker_lost": 1}), later=Counter({"503 no_worker": 2}))
    found = Report(verdict, Measured([1.0], [1.0], [1.0]), {"kill worker": 1}, {}, 0, 1.0, {}, [])
    assert write(found, {}, tmp_path, "soak") == 1
    written = json.loads((tmp_path / "soak.json").read_text())["verdict"]
    assert (written["codes"], written["later"]) == ({"worker_lost": 1}, {"503 no_worker": 2})


def test_a_report_is_flawless_only_where_nothing_is_left_or_left_out() -> None:
    found = Report(Verdict(requests=3, good=3), Measured([1.0], [1.0], [1.0]), {}, {"dead letters": 0}, 0, 1.0, {}, [])
    assert found.flawless
    assert not replace(found, left={"dead letters": 1}).flawless
    assert not replace(found, undone=1).flawless


async def test_requests_that_find_no_store_wait_for_the_next_one(building: House) -> None:
    numbers = range(2000, 2010)
    await asyncio.to_thread(building.wait_until_ready)
    await asyncio.to_thread(building.store.end, signal.SIGKILL)
    load = asyncio.create_task(callers.load(building.addresses(), numbers, len(numbers)))
    await asyncio.sleep(0.5)
    assert not load.done()
    await asyncio.to_thread(building.revive)
    verdict = judge(await load, {number: callers.expected(number) for number in numbers})
    assert verdict.flawless, verdict.wrong
    assert (verdict.good, verdict.retried, verdict.connections) == (len(numbers), 0, len(numbers)), verdict.later


@pytest.mark.parametrize("how", ["stood still", "restarted", "forgot"])
async def test_requests_at_a_store_that_comes_back_wait_for_the_workers_it_missed(building: House, how: str) -> None:
    """The store's clock went on: at its return all workers are lost or unknown until their next sign of life."""
    numbers = range(3000, 3010)
    await asyncio.to_thread(building.wait_until_ready)
    for slot in building.workers:
        slot.send(signal.SIGSTOP)
    if how == "stood still":
        building.store.send(signal.SIGSTOP)
    else:
        await asyncio.to_thread(building.store.end, signal.SIGKILL)
    load = asyncio.create_task(callers.load(building.addresses(), numbers, len(numbers)))
    await asyncio.sleep(2 * LOST_AFTER_S)
    if how == "forgot":
        shutil.rmtree(building.folder / "store" / "appendonlydir")
    if how != "stood still":
        building.store.start()
    building.store.send(signal.SIGCONT)
    await asyncio.to_thread(building.wait_for_store)
    await asyncio.sleep(0.5)  # the gateways find the store, and no worker in it
    assert not load.done()
    for slot in building.workers:
        slot.send(signal.SIGCONT)
    verdict = judge(await load, {number: callers.expected(number) for number in numbers})
    assert verdict.flawless, verdict.wrong
    assert (verdict.good, verdict.retried) == (len(numbers), 0), verdict.later


async def test_while_every_worker_and_gateway_is_replaced_in_turn_nothing_fails(building: House) -> None:
    numbers = range(1000, 1000 + REQUESTS)
    await asyncio.to_thread(building.wait_until_ready)
    await asyncio.to_thread(building.wait_for_workers)
    load = asyncio.create_task(callers.load(building.addresses(), numbers, 10))
    statuses = {}
    for slot in building.gateways:
        statuses[slot.name] = await asyncio.to_thread(slot.end, signal.SIGTERM)
        slot.start()
        await asyncio.to_thread(building.wait_until_ready)
    for slot in building.workers:
        statuses[slot.name] = await asyncio.to_thread(slot.end, signal.SIGTERM)
        slot.start()
        await asyncio.to_thread(building.wait_for_workers)
    outcomes = await load
    assert set(statuses.values()) == {0}, statuses
    verdict = judge(outcomes, {number: callers.expected(number) for number in numbers})
    assert (verdict.good, verdict.failed) == (REQUESTS, 0), verdict.wrong
    # A whole answer that outlasts the grace, here a second, is had from the next gateway.
    assert set(verdict.later) <= {"503 draining"}, verdict.later
