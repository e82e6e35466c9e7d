"""Packages of npm for a test, as a lock file pins them."""

import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_S = 60


def installed(source: Path, cache: Path) -> Path:
    """`cache` with the packages of the lock file in `source`, installed once; skips where that cannot be."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node on this machine")
    wanted = (source / "package-lock.json").read_bytes()
    done = cache / "installed.json"
    if done.is_file() and done.read_bytes() == wanted:
        return cache
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, cache)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
    try:
        ran = subprocess.run(command, cwd=cache, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not get the packages in time")
    if ran.returncode:
        pytest.skip(f"npm cannot install the packages here: {ran.stderr.strip().splitlines()[-1:]}")
    done.write_bytes(wanted)
    return cache
