"""The store's costs of a request, a token, a turn and a second of waiting, and from them those of a whole fleet."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

import msgspec

GATHER_S, GATHER_EACH_S = 0.002, 4e-6  # `broker/gateway/stream_multiplexer.py`: pause between reads, and a stream more


@dataclass(frozen=True, slots=True)
class Cost:
    """Commands (those inside scripts too), bytes that the store receives and sends, seconds of its processor."""

    commands: float = 0.0
    received: float = 0.0
    sent: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Self) -> "Cost":
        return Cost(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def __sub__(self, other: Self) -> "Cost":
        return self + other * -1

    def __mul__(self, times: float) -> "Cost":
        return Cost(*(getattr(self, name) * times for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Constants:
    """Costs of the store, and times of a worker.

    request: a request of one token but for its token, its turn and its read. token: one XADD in a turn's pipeline.
    turn: publish, look for cancellations and requests. read, read_each: a gateway's read that finds nothing, and each
    stream in it. relayed: a token that a read brings.
    listing, listing_each: a gateway's look at the workers (once a second), and each worker in it.
    busy_second, idle_second: a worker's signs of life, claims and, while it is idle, its waiting.
    overhead_s: of a turn beyond the model's step. turn_reads: a gateway's reads of one turn: its first token ends a
    read, the others may come with the next.
    """

    request: Cost
    token: Cost
    turn: Cost
    relayed: Cost
    read: Cost
    read_each: Cost
    listing: Cost
    listing_each: Cost
    busy_second: Cost
    idle_second: Cost
    overhead_s: float
    turn_reads: float = 1.0

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """From `asdict`."""
        return msgspec.convert(given, cls)

    def rows(self) -> list[dict[str, float | str]]:
        costs = {name: value for name, value in asdict(self).items() if isinstance(value, dict)}
        return [{"what": name, **{key: float(one) for key, one in value.items()}} for name, value in costs.items()]


@dataclass(frozen=True, slots=True)
class Work:
    """Of a whole fleet in a time of `seconds`; `turns` are steps of all workers, `streams` those open in the mean.

    streams_at_arrival: those open when a request comes, in the mean; None: as many, which holds where load is steady.
    listings: looks of all gateways at the workers; None: one a second each, as where requests come all the time.
    """

    seconds: float
    workers: int
    requests: float
    tokens: float
    turns: float
    streams: float
    gateways: int = 1
    busy_workers: float | None = None
    listings: float | None = None
    streams_at_arrival: float | None = None


def reads(work: Work, turn_reads: float) -> float:
    """Reads of all gateways in the time: each turn that has tokens for a gateway, and each new request, ends a read;
    between two reads is the multiplexer's pause."""
    if not work.turns:
        return 0.0
    width = work.tokens / work.turns
    heard = min(1.0, width / work.gateways)  # the share of a worker's turns that bring a gateway anything
    news = heard * turn_reads * work.turns + work.requests / work.gateways
    pause = GATHER_S + GATHER_EACH_S * work.streams / work.gateways
    return work.gateways * work.seconds / (pause + work.seconds / news)


def store_cost(constants: Constants, work: Work) -> dict[str, Cost]:
    """By part. Growth with a product is a part: streams in each read, workers in each gateway's listing."""
    busy = work.workers if work.busy_workers is None else work.busy_workers
    looks = reads(work, constants.turn_reads)
    listings = work.gateways * work.seconds if work.listings is None else work.listings
    return {
        "requests": constants.request * work.requests,
        "tokens": (constants.token + constants.relayed) * work.tokens,
        "turns": constants.turn * work.turns,
        "reads": constants.read * looks,
        "streams in reads": constants.read_each * (_streams_read(work, looks) / work.gateways),
        "listings": constants.listing * listings,
        "workers in listings": constants.listing_each * (listings * work.workers),
        "signs of life": constants.busy_second * (busy * work.seconds),
        "idle workers": constants.idle_second * ((work.workers - busy) * work.seconds),
    }


def _streams_read(work: Work, looks: float) -> float:
    at_arrival = work.streams if work.streams_at_arrival is None else work.streams_at_arrival
    wakes = min(work.requests, looks)
    return (looks - wakes) * work.streams + wakes * at_arrival


def total(parts: Mapping[str, Cost]) -> Cost:
    return sum(parts.values(), Cost())
