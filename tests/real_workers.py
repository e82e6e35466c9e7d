"""Workers with a real model folder: one in a process to kill, one in a thread, and the text of a stream."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pandagpt_core.loading import RuntimeOptions, load_model
from service import settings
from service.settings import StoreSettings
from tests.conftest import ROOT
from tests.fakes import worker_thread


@contextlib.contextmanager
def worker_process_of(folder: Path, store: StoreSettings, place: Path) -> Iterator[subprocess.Popen[bytes]]:
    given: dict[str, dict[str, object]] = {
        "store": {"url": store.url},
        "worker": {"model": folder, "dtype": "float32", "runner": "torch", "heartbeat_s": 0.1, "lost_after_s": 0.5},
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("PANDAGPT_")}
    command = [sys.executable, "-m", "service.cli", "worker"]
    with (place / "worker.txt").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env | settings.environment(given), stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


@contextlib.contextmanager
def second_worker(folder: Path, store: StoreSettings) -> Iterator[Any]:
    runtime = load_model(folder, RuntimeOptions(dtype="float32", runner="torch"))
    with worker_thread(store, runtime, heartbeat_s=0.1, lost_after_s=0.5) as worker:  # type: ignore[arg-type]
        yield worker


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], limit: float = 90.0) -> None:
    end = time.monotonic() + limit
    while not ready():
        assert process.poll() is None, "the worker ended"
        assert time.monotonic() < end, "the worker did not announce itself"
        time.sleep(0.1)


def texts(lines: Iterator[str]) -> Iterator[str]:
    """The pieces of text of the events."""
    for line in lines:
        if line.startswith("data: {"):
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                if choice["delta"].get("content"):
                    yield choice["delta"]["content"]
