"""The short form of the soak (`soak.py`): a few dozen requests while workers, a gateway and the store are disturbed."""

from pathlib import Path

from tests.chaos.house import house
from tests.chaos.soak import Report, markdown, soak

DEEDS = {"kill worker": 3, "roll worker": 2, "freeze worker": 2, "kill gateway": 2, "freeze store": 1, "kill store": 1}


async def run(folder: Path) -> Report:
    with house(folder, gateways=2, workers=3, step_delay=0.03) as building:
        return await soak(building, requests=90, at_once=10, every_s=0.8, weights=DEEDS, seed=3)


async def test_nothing_is_lost_doubled_or_crossed_and_everything_ends_once(tmp_path: Path) -> None:
    report = await run(tmp_path)
    assert report.verdict.flawless, report.verdict.wrong
    assert report.verdict.good + report.verdict.failed == 90
    assert set(report.verdict.codes) <= {"worker_lost"}, report.verdict.codes
    assert report.verdict.good >= 85
    assert sum(report.deeds.values()) >= 3, report.deeds
    assert {name: count for name, count in report.left.items() if name != "dead letters"} == {
        "queued interactive": 0,
        "queued batch": 0,
        "bytes interactive": 0,
        "bytes batch": 0,
    }
    assert report.measured.stall_own_ms < 100
    assert "| lost | 0 |" in markdown(report, {})
