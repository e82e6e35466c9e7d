"""Programs of the operator's world that tests run where they are installed."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest


def program(name: str, package: str) -> str:
    """Path of a program; without it the test is skipped with the reason."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"no {name} here: apt-get install {package}")
    return found


@contextmanager
def running(command: list[str], output: Path, ready: Callable[[], bool], timeout: float = 30.0) -> Iterator[int]:
    """Run it until the block ends; gives its process id once `ready` says so."""
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=output.parent)
    try:
        limit = time.monotonic() + timeout
        while not ready():
            assert process.poll() is None, f"{command[0]} ended:\n{output.read_text(errors='replace')}"
            assert time.monotonic() < limit, f"{command[0]} was not ready:\n{output.read_text(errors='replace')}"
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False
