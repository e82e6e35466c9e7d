"""A fleet by simulation: queue time, store load and gateways for 100 to 10,000 workers, from costs measured here.

    python -m benchmarks.simulate [--quick] [--workers 100,1000,10000] [--step-ms 25] [--sequences 100] [--favour]

First the costs are measured: the store's commands, bytes and processor time for a request, a token, a turn and a second
of waiting. Then real runs of one, two and four workers, whose every step takes the same time, are held beside the
simulator's account of the same arrivals: queue time, whole time, commands and bytes within 15 %, else the status is 1.
At last the simulator goes where no machine here can.
"""

import argparse
import os
import sys
from pathlib import Path

from benchmarks.lib import machine, procs, report
from benchmarks.simulation import check, fleet
from benchmarks.simulation.calibrate import calibrate
from benchmarks.simulation.queueing import WorkerModel

COSTS = (
    report.Column("what", "what"),
    report.Column("commands", "commands", 2),
    report.Column("received", "bytes to the store", 0),
    report.Column("sent", "bytes from the store", 0),
    report.Column("seconds", "store's processor µs", 1, 1e6),
)


def main() -> int:
    given = _parser().parse_known_args()[0]
    if given.favour:
        _before_others()
    facts = machine.facts()
    out = None if given.no_save else given.out or report.folder(facts)
    constants = calibrate()
    costs = report.BenchmarkReport(
        "simulate_costs", "What requests cost the store", COSTS, constants.rows(), COST_NOTES
    )
    report.publish(costs, facts, out)
    rows = [check.row(constants, workers) for workers in ((1,) if given.quick else (1, 2, 4))]
    report.publish(report.BenchmarkReport("simulate_check", CHECK_TITLE, check.COLUMNS, rows, CHECK_NOTES), facts, out)
    model = WorkerModel(given.sequences, given.step_ms / 1000 + constants.overhead_s)
    gateway = fleet.GatewayModel(given.events, given.streams)
    fleets = [fleet.row(constants, int(workers), model, gateway, fleet.Load()) for workers in given.workers.split(",")]
    notes = [
        f"By simulation, not run: workers of {given.sequences} sequences, {given.step_ms:g} ms a step however many run "
        "(given, not measured), answers of 100 tokens in the mean, 80 % of what the workers can do.",
        f"A gateway relays {given.events} events/s and core and holds {given.streams} streams at most "
        "(`gateway_streams`).",
        f"Queue times are of {fleet.SHOWN} workers at most: a larger pool waits no longer.",
    ]
    report.publish(report.BenchmarkReport("simulate", "Fleets by simulation", fleet.COLUMNS, fleets, notes), facts, out)
    return int(any(float(str(row["off"])) > check.ALLOWED for row in rows))


COST_NOTES = (
    "Commands include those inside scripts.",
    "request: of one token, without its token, turn and read. token: one XADD of a turn's pipeline. relayed: a token "
    "that a gateway's read brings. read, read_each: a read, and each open stream in it. listing, listing_each: a "
    "gateway's look at the workers, at most once a second, and each worker in it. busy_second, idle_second: a worker's "
    "signs of life and claims, and what an idle one asks the queue.",
)
CHECK_TITLE = "The simulator beside real runs"
CHECK_NOTES = (
    "Workers without a model, whose every step takes 200 ms; requests come for 15 s at 1.6 times what they can do, and "
    "what waits is worked off. Both sides get the same arrivals.",
    "The steps are sleeps, so that a busy machine matters little; other work ran beside, and with --favour these "
    "processes ran before it (SCHED_FIFO).",
    "The store's processor time is shown and not held to the 15 %: a store that is idle for 97 % of the time works "
    "with cold caches.",
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="100,1000,10000")
    parser.add_argument("--sequences", type=int, default=125, help="of a worker at once")
    parser.add_argument("--step-ms", type=float, default=25.0, help="of a worker")
    parser.add_argument("--events", type=float, default=33_000, help="events a second and core of a gateway")
    parser.add_argument("--streams", type=int, default=5_000, help="of a gateway at most")
    parser.add_argument("--quick", action="store_true", help="one worker in the check")
    parser.add_argument("--favour", action="store_true", help="run before all other processes, where allowed")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser


def _before_others() -> None:
    procs.favour(os.getpid())
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


if __name__ == "__main__":
    sys.exit(main())
