"""Real runs of one to four workers beside the simulator's account of the same arrivals."""

import random
import time
from bisect import bisect_right
from collections.abc import Sequence

from benchmarks.lib import report
from benchmarks.simulation.calibrate import SEQUENCES, SETTLE_S, STEP_S
from benchmarks.simulation.costs import Constants, Cost, Work, store_cost, total
from benchmarks.simulation.meter import StoreMeter
from benchmarks.simulation.queueing import Arrival, Outcome, WorkerModel, simulate
from benchmarks.simulation.rig import queue_times, rig, send

ALLOWED = 0.15
LOAD = 1.6  # of what the workers can do, while requests come; then they work off what waits
SPAN_S = 15.0
TOKENS = (5, 15)
HELD = ("queue_s", "whole_s", "commands", "received", "sent")  # to ALLOWED
FIGURES = (
    *HELD,
    "busy_s",
)  # a store that is idle for 97 % of the time works with cold caches, so its time is shown only
COLUMNS = (
    report.Column("workers", "workers", 0),
    report.Column("requests", "requests", 0),
    *(
        report.Column(f"{name}_{side}", f"{title}, {side}", digits)
        for name, title, digits in (
            ("queue_s", "mean wait in the queue s", 2),
            ("whole_s", "mean whole answer s", 2),
            ("commands", "store commands", 0),
            ("received", "bytes to the store", 0),
            ("sent", "bytes from the store", 0),
            ("busy_s", "store's processor s", 3),
        )
        for side in ("simulated", "measured")
    ),
    report.Column("off", "furthest off but the last, %", 1, 100),
)


def arrivals_at(load: float, workers: int, span: float, model: WorkerModel, seed: int) -> list[Arrival]:
    """Poisson, at `load` times what the workers end in a second; answers of evenly spread lengths."""
    chance, at, made = random.Random(seed), 0.0, []
    rate = load * workers * model.capacity(sum(TOKENS) / 2)
    while at < span:
        at += chance.expovariate(rate)
        made.append(Arrival(at, chance.randint(*TOKENS)))
    return made


def row(constants: Constants, workers: int) -> report.Row:
    model = WorkerModel(SEQUENCES, STEP_S + constants.overhead_s)
    arrivals = arrivals_at(LOAD, workers, SPAN_S, model, workers)
    simulated, measured = predicted(constants, workers, model, arrivals), real(workers, arrivals)
    off = {name: abs(simulated[name] / measured[name] - 1) for name in HELD}
    sides = {f"{name}_{side}": figures[name] for side, figures in (("simulated", simulated), ("measured", measured))
             for name in FIGURES}  # fmt: skip
    return {"workers": workers, "requests": len(arrivals), **sides, "off": max(off.values())}


def predicted(constants: Constants, workers: int, model: WorkerModel, arrivals: Sequence[Arrival]) -> dict[str, float]:
    outcome = simulate(arrivals, workers, model)
    spent = total(store_cost(constants, work_of(outcome, arrivals, workers, model)))
    return _figures(outcome.queued, outcome.whole, spent)


def work_of(outcome: Outcome, arrivals: Sequence[Arrival], workers: int, model: WorkerModel) -> Work:
    streams = sum(one.whole for one in outcome.served) / outcome.seconds
    busy = min(workers, outcome.turns * model.turn(model.sequences) / outcome.seconds)
    ends = sorted(one.ended for one in outcome.served)
    open_at = [came - bisect_right(ends, arrival.at) for came, arrival in enumerate(arrivals)]
    return Work(
        outcome.seconds,
        workers,
        len(arrivals),
        outcome.tokens,
        outcome.turns,
        streams,
        busy_workers=busy,
        streams_at_arrival=sum(open_at) / len(open_at),
    )


def real(workers: int, arrivals: Sequence[Arrival]) -> dict[str, float]:
    with rig(workers, STEP_S, SEQUENCES) as made:
        send(made.port, [Arrival(0.0, 2)] * workers)
        made.store.delete(*made.store.scan_iter("pandagpt:record:*"))
        time.sleep(SETTLE_S)
        meter = StoreMeter(made.store)
        answers = send(made.port, arrivals)
        spent, waits = meter.since(), queue_times(made.store)
    whole = sum(taken for _, taken in answers) / len(answers)
    return _figures(sum(waits) / len(waits), whole, spent)


def _figures(queued: float, whole: float, spent: Cost) -> dict[str, float]:
    values = (queued, whole, spent.commands, spent.received, spent.sent, spent.seconds)
    return dict(zip(FIGURES, values, strict=True))
