"""Operation: a rolling restart under load, and the metrics beside the callers' own clocks.

    python -m benchmarks.operate [--requests 500] [--at-once 4] [--new 32] [--model DIR] [--no-save] [--out DIR]

Two gateways, two workers, haproxy (deploy/proxies/haproxy.cfg) and Prometheus run as processes. While the requests
pass, one gateway and one worker are restarted as a roll-out does it. It prints the requests that failed, those that
were given up, and the mean of each histogram of latency beside the same mean by the callers' clocks. Status 1 where a
request failed or was given up, or a mean is off by more than 5 %. Needs haproxy and prometheus on the path.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.lib import machine, report
from benchmarks.lib.sse import Answer, Request, stream_one
from benchmarks.operation.deployment import SCRAPE_S, DeployedProcess, Deployment, NotInstalled, deployed
from benchmarks.operation.readings import Readings

ALLOWED = 0.05
FIRST = "pandagpt_time_to_first_token_seconds"
BETWEEN = "pandagpt_inter_token_latency_seconds"
WHOLE = "pandagpt_e2e_request_latency_seconds"


@dataclass(frozen=True)
class MeanSeconds:
    """Seconds, by the metrics and by the callers."""

    histogram: str
    metrics: float
    callers: float

    @property
    def off(self) -> float:
        return abs(self.metrics - self.callers) / self.callers if self.callers else 1.0


@dataclass
class OperationOutcome:
    sent: int
    failed: int
    given_up: int
    takeovers: int
    restarts: dict[str, int]
    means: list[MeanSeconds]

    @property
    def good(self) -> bool:
        well = not any(self.restarts.values()) and all(mean.off <= ALLOWED for mean in self.means)
        return well and self.failed == self.given_up == 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--new", type=int, default=32, help="tokens of an answer")
    parser.add_argument("--model", type=Path, default=machine.ROOT / "models/panda-mini")
    parser.add_argument("--no-save", action="store_true", help="print only")
    parser.add_argument("--out", type=Path, help="folder of the results instead of benchmarks/results/<date>-<machine>")
    given, facts = parser.parse_args(arguments), machine.facts()
    worker = {"model": given.model, "runner": "torch", "dtype": "float32", "threads": 1}  # loads without a trial
    with tempfile.TemporaryDirectory() as name:
        try:
            with deployed(Path(name), worker) as deployment:
                outcome = asyncio.run(run(deployment, given.requests, given.at_once, given.new))
        except NotInstalled as absent:
            print(f"operate: {absent}", file=sys.stderr)
            return 2
    made = report_of(outcome, given.at_once, given.new)
    report.publish(made, facts, None if given.no_save else given.out or report.folder(facts))
    return 0 if outcome.good else 1


async def run(deployment: Deployment, least: int, at_once: int, new: int) -> OperationOutcome:
    """At least so many requests, and as many more as come until the restarts are done."""
    rolling = asyncio.create_task(restart_each([deployment.gateways[0], deployment.workers[0]]))
    answers: list[tuple[Answer, float]] = []

    async def caller() -> None:
        while len(answers) < least or not rolling.done():
            answers.append(await stream_one(_request(deployment.port, len(answers), new)))

    await asyncio.gather(*(caller() for _ in range(at_once)))
    restarts = await rolling
    await asyncio.sleep(3 * SCRAPE_S)
    return outcome_of(answers, restarts, Readings(deployment.prometheus))


async def restart_each(parts: Sequence[DeployedProcess]) -> dict[str, int]:
    """Exit statuses by name."""
    statuses = {}
    for part in parts:
        await asyncio.sleep(3.0)
        statuses[part.name] = await asyncio.to_thread(part.restart)
    return statuses


def _request(port: int, number: int, new: int) -> Request:
    said = f"Question {number}: what do you see, and what do you hear?"
    body = {"messages": [{"role": "user", "content": said}], "max_tokens": new, "ignore_eos": True, "stream": True}
    return Request(port, "/v1/chat/completions", body)


def outcome_of(
    answers: Sequence[tuple[Answer, float]], restarts: dict[str, int], readings: Readings
) -> OperationOutcome:
    good = [(answer, total) for answer, total in answers if answer.error is None and answer.chunks]
    gaps = [
        after - before for answer, _ in good for before, after in zip(answer.chunks, answer.chunks[1:], strict=False)
    ]
    callers = {
        FIRST: [answer.chunks[0] for answer, _ in good],
        BETWEEN: gaps,
        WHOLE: [total for _, total in good],
    }
    means = [MeanSeconds(name, readings.mean(name), statistics.fmean(times)) for name, times in callers.items()]
    given_up = max(readings.growth("pandagpt_requests_given_up_total"), readings.highest("pandagpt_dead_letters"))
    takeovers = round(readings.growth("pandagpt_takeovers_total"))
    return OperationOutcome(len(answers), len(answers) - len(good), round(given_up), takeovers, restarts, means)


COLUMNS = (
    report.Column("histogram", "mean of"),
    report.Column("metrics", "metrics (ms)", 2, 1e3),
    report.Column("callers", "callers (ms)", 2, 1e3),
    report.Column("off", "off (%)", 1, 100),
)


def report_of(outcome: OperationOutcome, at_once: int, new: int) -> report.BenchmarkReport:
    rows = [{**asdict(mean), "off": mean.off} for mean in outcome.means]
    statuses = ", ".join(f"{name} {status}" for name, status in outcome.restarts.items())
    notes = [
        f"{outcome.sent} streamed requests of {new} tokens, {at_once} at once: failed {outcome.failed}, given up "
        f"{outcome.given_up}, taken over {outcome.takeovers}. Exit statuses of what was restarted: {statuses}.",
        f"Two gateways, two workers, a store, haproxy and Prometheus beside the callers; load average at the end "
        f"{os.getloadavg()[0]:.1f}. The times say nothing of a quiet machine, the differences do.",
    ]
    return report.BenchmarkReport("operate", "A rolling restart under load", COLUMNS, rows, notes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
