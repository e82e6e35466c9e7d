"""The whole service as its user starts it: `pandagpt serve` as a process, on a free loopback port."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service import settings
from service.local import ports

START_S = 600.0


@dataclass(frozen=True)
class Served:
    """A running service: where it answers, where it keeps its state, and its process."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")

    def descendants(self) -> list[int]:
        """The process ids of all that it started (Linux)."""
        return _below(self.process.pid)


@contextmanager
def served(model: Path, folder: Path, **worker: object) -> Iterator[Served]:
    """Start it on `model` with its state in `folder`, wait until it is ready, end it. `worker`: settings of its own."""
    port = ports.choose("127.0.0.1", 0)
    given: dict[str, dict[str, object]] = {
        "gateway": {"port": port},
        "worker": {"model": model.resolve(), "heartbeat_s": 0.3, "lost_after_s": 1.5, **worker},
        "local": {"state": folder / ".state", "restart_s": 0.1},
        "decode": {"processes": 1},
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("PANDAGPT_")}
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve"],
            cwd=Path(__file__).parents[1],
            env=env | settings.environment(given),
            stdout=output,
            stderr=output,
        )
    house = Served(f"http://127.0.0.1:{port}", folder, process)
    try:
        limit = time.monotonic() + START_S
        while "Ctrl-C ends it." not in house.output:
            if process.poll() is not None or time.monotonic() > limit:
                pytest.fail(f"`pandagpt serve` did not get ready:\n{house.output}")
            time.sleep(0.05)
        yield house
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def _below(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*")
        for child in (task / "children").read_text(encoding="ascii").split()
    ]
    return [*children, *(below for child in children for below in _below(child))]
