"""A whole fleet at a steady load: its queue by the simulator, its store and gateways by the measured costs."""

import math
import random
from dataclasses import dataclass

from benchmarks.lib import report
from benchmarks.simulation.costs import Constants, Cost, Work, store_cost, total
from benchmarks.simulation.queueing import Arrival, WorkerModel, simulate

FULL = 0.7  # of a store's or a gateway's one thread, above which it counts as full
SHOWN = 100  # workers that are simulated at most: a larger pool waits no longer
COLUMNS = (
    report.Column("workers", "workers", 0),
    report.Column("streams", "open streams", 0),
    report.Column("tokens_s", "tokens/s", 0),
    report.Column("requests_s", "requests/s", 0),
    report.Column("queue_ms", "mean wait in the queue ms", 0, 1000),
    report.Column("gateways", "gateways", 0),
    report.Column("commands_s", "store commands/s", 0),
    report.Column("mib_s", "store MiB/s in and out", 0),
    report.Column("busy", "store's processor, cores", 2),
    report.Column("stores", "stores at 70 %", 0),
    report.Column("first", "largest part of the store's work"),
)


@dataclass(frozen=True, slots=True)
class GatewayModel:
    """Events that one gateway process relays on a core (`benchmarks.gateway_streams`), and the streams it may hold."""

    events_s: float
    streams: int


@dataclass(frozen=True, slots=True)
class Load:
    """Answers of `tokens` each, at `share` of what the workers can do."""

    tokens: int = 100
    share: float = 0.8
    seconds: float = 20.0


def row(constants: Constants, workers: int, model: WorkerModel, gateway: GatewayModel, load: Load) -> report.Row:
    requests_s = load.share * workers * model.capacity(load.tokens)
    tokens_s, running = requests_s * load.tokens, load.share * workers * model.sequences
    turns_s = workers / model.turn(round(load.share * model.sequences))
    gateways = math.ceil(max(tokens_s / (FULL * gateway.events_s), running / gateway.streams, 1))
    work = Work(1.0, workers, requests_s, tokens_s, turns_s, running, gateways)
    parts = store_cost(constants, work)
    spent = total(parts)
    return {
        "workers": workers,
        "streams": running,
        "tokens_s": tokens_s,
        "requests_s": requests_s,
        "queue_ms": queue_time(min(workers, SHOWN), model, load),
        "gateways": gateways,
        "commands_s": spent.commands,
        "mib_s": (spent.received + spent.sent) / 2**20,
        "busy": spent.seconds,
        "stores": math.ceil(spent.seconds / FULL),
        "first": _largest(parts),
    }


def queue_time(workers: int, model: WorkerModel, load: Load) -> float:
    """Seconds, in the mean over a steady load; the first half, in which the workers fill, does not count."""
    chance, at, arrivals = random.Random(1), 0.0, []
    rate = load.share * workers * model.capacity(load.tokens)
    fill = 2 * load.tokens * model.turn(model.sequences)
    while at < fill + load.seconds:
        at += chance.expovariate(rate)
        arrivals.append(Arrival(at, chance.randint(load.tokens // 2, load.tokens * 3 // 2)))
    served = simulate(arrivals, workers, model).served
    late = [one.queued for one in served if one.ended - one.whole >= fill]
    return sum(late) / len(late)


def _largest(parts: dict[str, Cost]) -> str:
    name = max(parts, key=lambda part: parts[part].seconds)
    return f"{name}, {parts[name].seconds / total(parts).seconds:.0%}"
