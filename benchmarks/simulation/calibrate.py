"""The constants, measured: each operation alone where it can be had alone, else a run less what is known of it."""

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import redis

from benchmarks.simulation.costs import Constants, Cost, Work, store_cost, total
from benchmarks.simulation.meter import StoreMeter
from benchmarks.simulation.queueing import Arrival, WorkerModel, simulate
from benchmarks.simulation.rig import Rig, rig, send
from service.broker import protocol
from service.broker.connection import connect, connect_async
from service.broker.gateway.client import Broker
from service.broker.gateway.stream_multiplexer import StreamConnection, StreamCursor
from service.broker.keys import Keys, new_request_id
from service.broker.protocol import Announcement, Token
from service.broker.worker.consumer import Consumer
from service.settings import StoreSettings
from tests.fakes import FAKE_INFO
from tests.wire import generate

STEP_S = 0.2
TIMES = 300  # of each operation
MANY = 16  # tokens of a turn
STREAMS = 1000
LISTED = (1, 500)
SEQUENCES = 8
LONG = 50  # tokens of the answer that shows a busy worker's seconds
APART_S = 0.03  # between the requests of a crowd: each then ends a gateway's read of its own
CROWD, SHORT = 64, 6  # answers, and tokens of each
IDLE_S = 4.0  # of the store's measurement without requests
SETTLE_S = 1.5  # for the rest of the last request's work
OTHER = replace(FAKE_INFO, id="calibration")


def calibrate() -> Constants:
    """Takes about a minute."""
    with rig(workers=1, step_s=STEP_S, sequences=SEQUENCES) as made:
        meter = StoreMeter(made.store)
        turn, token = _turn_and_token(made, meter)
        read, read_each, relayed = asyncio.run(_read(made, meter))
        listing, listing_each = asyncio.run(_listing(made, meter))
        made.store.flushall()
        _announced(made)
        send(made.port, [Arrival(0.0, 1)])
        idle = _idle(meter)
        known = Constants(Cost(), token, turn, relayed, read, read_each, listing, listing_each, Cost(), idle, 0.0)
        known = replace(known, busy_second=_busy(made, meter, known))
        return _request(made, meter, known)


def _announced(made: Rig) -> None:
    """Wait until the worker's heartbeat has announced it again."""
    limit = time.monotonic() + 30
    while not made.store.zcard(Keys().ready(FAKE_INFO.id)):
        if time.monotonic() > limit:
            raise TimeoutError("the worker does not announce itself")
        time.sleep(0.05)


def _per(meter: StoreMeter, times: int, work: Callable[[], object]) -> Cost:
    meter.since()
    for _ in range(times):
        work()
    return meter.since() * (1 / times)


def _turn_and_token(made: Rig, meter: StoreMeter) -> tuple[Cost, Cost]:
    """A turn without tokens, and what each token adds; requests of a model that no worker serves."""
    with connect(made.settings, name="calibration") as store:
        consumer = Consumer(store, made.settings, OTHER.id, "calibration", 3600.0)
        consumer.open()
        consumer.take(1)
        consumer._next_claim = time.monotonic() + 3600  # claims belong to a worker's seconds

        def turn() -> None:
            consumer.flush()
            consumer.take(8)

        empty = _per(meter, TIMES, turn)
        asyncio.run(_queue(made.settings, store, MANY))
        deliveries = consumer.take(MANY)

        def speak() -> None:
            for delivery in deliveries:
                delivery.writer.add(Token(choice=0, token_id=1, text=" w123"))
            turn()

        full = _per(meter, TIMES, speak)
    return empty, (full - empty) * (1 / len(deliveries))


async def _queue(settings: StoreSettings, store: "redis.Redis", count: int) -> None:
    seconds, _ = store.time()
    store.zadd(Keys().ready(OTHER.id), {"w": (seconds + 600) * 1000})
    broker = Broker.connect(settings)
    for _ in range(count):
        await broker.submit(generate(model=OTHER.id))
    await broker.close()


async def _read(made: Rig, meter: StoreMeter) -> tuple[Cost, Cost, Cost]:
    """Costs of a read that finds nothing, of each stream in it, and of each token that it brings."""
    few = await _reads(made, meter, 1, 1)
    each = (await _reads(made, meter, STREAMS, 1) - few) * (1 / (STREAMS - 1))
    relayed = (await _reads(made, meter, MANY, MANY) - few - each * (MANY - 1)) * (1 / (MANY - 1))
    return few - each - relayed, each, relayed


async def _reads(made: Rig, meter: StoreMeter, streams: int, new: int) -> Cost:
    """One read of so many streams, of which `new` have a token."""
    store = connect_async(made.settings)
    connection = StreamConnection(store.connection_pool)
    entry = {"events": protocol.encode([Token(choice=0, token_id=1, text=" w123")])}
    cursors = [StreamCursor(Keys().events(new_request_id("chatcmpl", OTHER.id))) for _ in range(streams)]
    for at, cursor in enumerate(cursors):
        made.store.xadd(cursor.key, entry, id="2-0")
        cursor.move(b"1-0" if at < new else b"2-0")
    meter.since()
    for _ in range(TIMES):
        await connection.read(cursors, 256, 1000)
    spent = meter.since() * (1 / TIMES)
    await connection.close()
    await store.aclose()
    return spent


async def _listing(made: Rig, meter: StoreMeter) -> tuple[Cost, Cost]:
    """A gateway's look at the models, and what each worker adds."""
    keys, costs, broker = Keys(), [], Broker.connect(made.settings)
    seconds, _ = made.store.time()
    for count in LISTED:
        for number in range(count):
            announcement = protocol.encode(Announcement(worker=f"host-{number}", model=FAKE_INFO, capacity=8))
            made.store.hset(keys.workers("fake"), f"host-{number}", announcement)
            made.store.zadd(keys.ready("fake"), {f"host-{number}": (seconds + 600) * 1000})
        meter.since()
        for _ in range(20):
            broker.registry._until = 0.0
            await broker.registry.models()
        costs.append(meter.since() * (1 / 20))
    await broker.close()
    each = (costs[1] - costs[0]) * (1 / (LISTED[1] - LISTED[0]))
    return costs[0] - each, each


def _idle(meter: StoreMeter) -> Cost:
    time.sleep(SETTLE_S)
    meter.since()
    begun = time.perf_counter()
    time.sleep(IDLE_S)
    return meter.since() * (1 / (time.perf_counter() - begun))


def _busy(made: Rig, meter: StoreMeter, known: Constants) -> Cost:
    """A busy worker's second beside its turns, by one long answer."""
    meter.since()
    [(_, taken)] = send(made.port, [Arrival(0.0, LONG)])
    work = Work(taken, workers=1, requests=1, tokens=LONG, turns=LONG, streams=1, listings=1)
    return (meter.since() - total(store_cost(known, work))) * (1 / taken)


def _request(made: Rig, meter: StoreMeter, known: Constants) -> Constants:
    """With the costs of a request and the overhead of a turn: a crowd of short answers, more than the worker has room
    for, less all that is known; its turns are the simulator's."""
    arrivals = [Arrival(number * APART_S, SHORT) for number in range(CROWD)]
    before = _reads_so_far(made)
    meter.since()
    answers = send(made.port, arrivals)
    spent = meter.since()
    taken = max(arrival.at + whole for arrival, (_, whole) in zip(arrivals, answers, strict=True))
    looks = _reads_so_far(made) - before
    ideal = simulate(arrivals, 1, WorkerModel(SEQUENCES, STEP_S))
    streams = sum(whole for _, whole in answers) / taken
    work = Work(taken, 1, CROWD, ideal.tokens, ideal.turns, streams, listings=1)
    known = replace(known, turn_reads=max(1.0, (looks - CROWD) / ideal.turns))
    rest = (spent - total(store_cost(known, work))) * (1 / CROWD)
    gaps = [(answer.chunks[-1] - answer.chunks[0]) / (len(answer.chunks) - 1) for answer, _ in answers]
    return replace(known, request=rest, overhead_s=max(0.0, statistics.median(gaps) - STEP_S))


def _reads_so_far(made: Rig) -> float:
    stats: Any = made.store.info("commandstats")
    return float(stats["cmdstat_xread"]["calls"])
