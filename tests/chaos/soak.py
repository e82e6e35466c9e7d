"""The long form: many requests while things go wrong, and a report. `make soak`, or `python -m tests.chaos.soak`.

    --requests 1000 --deeds 60 --at-once 32 --every 2.5 --workers 4 --gateways 3 --out benchmarks/results

Ends with status 1 where a request was lost, doubled or crossed, has other words, did not end exactly once, or was
answered with "later" (503, 429) before it was answered well.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from service.broker.keys import PRIORITIES, Keys
from tests.chaos import callers
from tests.chaos.checker import Outcome, Verdict, judge
from tests.chaos.house import House, house
from tests.chaos.mischief import Mischief

EVERYTHING = {
    "kill worker": 6,
    "roll worker": 4,
    "freeze worker": 4,
    "kill gateway": 3,
    "roll gateway": 3,
    "freeze store": 2,
    "kill store": 1,
}
SAMPLE_S = 2.0
MB = 1 << 20


@dataclass
class Measured:
    """Resident memory of the gateway and the worker that stay, in MB by the second; the gateway's longest stalls."""

    seconds: list[float] = field(default_factory=list)
    gateway_mb: list[float] = field(default_factory=list)
    worker_mb: list[float] = field(default_factory=list)
    stall_wall_ms: float = 0.0
    stall_own_ms: float = 0.0


@dataclass
class Report:
    """Results of a run."""

    verdict: Verdict
    measured: Measured
    deeds: dict[str, int]
    left: dict[str, int]
    undone: int  # disturbances that the time did not reach
    seconds: float
    latency_s: dict[str, float]
    slowest: list[str]

    @property
    def flawless(self) -> bool:
        """Whether every request was answered at its first sending, nothing is left, and no disturbance was left out."""
        return self.verdict.flawless and not any(self.left.values()) and not self.undone


class Disturbance(Protocol):
    """Faults until it is cancelled; `done` counts each kind, `undone` those that are still to come."""

    done: Counter[str]

    @property
    def undone(self) -> int: ...

    async def run(self) -> None: ...


async def soak(
    building: House,
    requests: int,
    deeds: int,
    at_once: int,
    every_s: float,
    weights: dict[str, int] | None = None,
    seed: int = 1,
) -> Report:
    """Load and mischief together, until there was enough of both; then a look at what is left in the store."""
    mischief = Mischief(building, every_s, weights or EVERYTHING, seed)

    def numbers() -> Iterator[int]:
        return itertools.takewhile(lambda at: at < requests or mischief.done.total() < deeds, range(requests * 10))

    return await disturbed(building, mischief, callers.load(building.addresses(), numbers(), at_once), callers.expected)


async def disturbed(
    building: House,
    mischief: Disturbance,
    load: Coroutine[Any, Any, dict[int, Outcome]],
    expected: Callable[[int], list[str]],
) -> Report:
    """The load while the mischief is done. `expected` gives each request's undisturbed texts."""
    measured, began = Measured(), time.monotonic()
    beside = [asyncio.create_task(mischief.run()), asyncio.create_task(_measure(building, measured, began))]
    outcomes = await load
    seconds = time.monotonic() - began
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    for task in beside:
        if not task.cancelled() and task.exception() is not None:
            raise RuntimeError("the disturbance itself failed") from task.exception()
    building.revive()  # the last deed may have been cut off in the middle
    first = min(outcomes)
    wanted = {number: expected(number) for number in range(first, first + len(outcomes))}
    stalls = json.loads(building.stalls_file(0).read_text())
    measured.stall_wall_ms, measured.stall_own_ms = (round(1000 * stalls[name], 1) for name in ("wall", "own"))
    durations = sorted(outcome.seconds for outcome in outcomes.values())
    latency = {"median": statistics.median(durations), "p99": durations[int(len(durations) * 0.99)]}
    latency["max"] = durations[-1]
    slow = sorted(outcomes.values(), key=lambda outcome: -outcome.seconds)[:12]
    slowest = [f"{one.kind} {one.number}: {one.seconds:.1f} s; {', '.join(one.waits)}" for one in slow]
    verdict, left, done = judge(outcomes, wanted), await _left(building), dict(mischief.done)
    return Report(verdict, measured, done, left, mischief.undone, seconds, latency, slowest)


async def _measure(building: House, measured: Measured, began: float) -> None:
    while True:
        measured.seconds.append(round(time.monotonic() - began, 1))
        measured.gateway_mb.append(round(building.gateways[0].rss_bytes / MB, 1))
        measured.worker_mb.append(round(building.workers[0].rss_bytes / MB, 1))
        await asyncio.sleep(SAMPLE_S)


async def _left(building: House, patience_s: float = 15.0) -> dict[str, int]:
    """The work that the store still holds once the workers had time to settle: all must be 0 but dead letters."""
    keys, client = Keys(), building.client
    limit = time.monotonic() + patience_s
    while True:
        left = {f"queued {lane}": int(client.xlen(keys.queue(building.served, lane))) for lane in PRIORITIES}
        left |= {f"bytes {lane}": int(client.get(keys.load(building.served, lane)) or 0) for lane in PRIORITIES}
        if not any(left.values()) or time.monotonic() > limit:
            break
        await asyncio.sleep(0.2)
    left["dead letters"] = int(client.xlen(keys.dead(building.served)))
    client.close()
    return left


def markdown(report: Report, conditions: dict[str, Any]) -> str:
    """The report for people."""
    verdict, measured = report.verdict, report.measured
    deeds = ", ".join(f"{count} x {name}" for name, count in sorted(report.deeds.items()))
    rows = {
        "requests": verdict.requests,
        "answered word for word as undisturbed": verdict.good,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "crossed": verdict.crossed,
        "other words than undisturbed": verdict.reworded,
        "without an end": verdict.without_end,
        "with more than one end": verdict.with_more_ends,
        "failed, with one error": f"{verdict.failed} {dict(verdict.codes) or ''}".strip(),
        "connections used": verdict.connections,
        "answered after a 503 or 429": f"{verdict.retried} {dict(verdict.later) or ''}".strip(),
        "disturbances": f"{sum(report.deeds.values())} ({deeds})",
        "seconds": round(report.seconds, 1),
        "request, median / p99 / longest (s)": " / ".join(f"{value:.1f}" for value in report.latency_s.values()),
        "gateway's memory, first quarter / last quarter (MB)": _quarters(measured.gateway_mb),
        "worker's memory, first quarter / last quarter (MB)": _quarters(measured.worker_mb),
        "gateway's longest stall, own time / wall (ms)": f"{measured.stall_own_ms} / {measured.stall_wall_ms}",
        "disturbances left out": report.undone,
        "left in the store": ", ".join(f"{name} {count}" for name, count in report.left.items()),
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    told = "; ".join(f"{name} {value}" for name, value in conditions.items())
    return "\n".join(["# Soak", "", told, "", "| what | figure |", "| --- | --- |", *lines, ""])


def _quarters(values: Sequence[float]) -> str:
    quarter = max(1, len(values) // 4)
    return f"{statistics.mean(values[:quarter]):.1f} / {statistics.mean(values[-quarter:]):.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Requests while things go wrong.")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--deeds", type=int, default=60, help="disturbances at least")
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--every", type=float, default=2.5, help="seconds between disturbances, on average")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--gateways", type=int, default=3)
    parser.add_argument("--step-delay", type=float, default=0.05, help="seconds that the fake model takes for a step")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        building = stack.enter_context(
            house(Path(folder), gateways=given.gateways, workers=given.workers, step_delay=given.step_delay)
        )
        report = asyncio.run(soak(building, given.requests, given.deeds, given.at_once, given.every, seed=given.seed))
    conditions = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}",
        "gateways": given.gateways,
        "workers": given.workers,
        "at once": given.at_once,
        "a disturbance every (s)": given.every,
        "seed": given.seed,
    }
    return write(report, conditions, given.out, "soak")


def write(report: Report, conditions: dict[str, Any], folder: Path, name: str) -> int:
    """The report as JSON and for people; the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {"conditions": conditions, **msgspec.to_builtins(report)}
    (folder / f"{name}.json").write_text(json.dumps(written, indent=1) + "\n")
    (folder / f"{name}.md").write_text(markdown(report, conditions))
    sys.stdout.write(markdown(report, conditions))
    sys.stdout.write("".join(f"{line}\n" for line in report.verdict.wrong))
    return 0 if report.flawless else 1


if __name__ == "__main__":
    sys.exit(main())
