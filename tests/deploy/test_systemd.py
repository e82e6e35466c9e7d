"""The systemd units: sound by systemd's own check, with commands and settings that exist, and time enough to drain."""

import re
import subprocess
from pathlib import Path

import pytest

from service.settings import GatewaySettings, WorkerSettings
from tests.deploy.programs import program

UNITS = ("pandagpt-gateway@", "pandagpt-worker@")


def text(root: Path, unit: str) -> str:
    return (root / f"deploy/systemd/{unit}.service").read_text(encoding="utf-8")


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault_in_the_unit(root: Path, unit: str, tmp_path: Path) -> None:
    made = text(root, unit).replace("/opt/pandagpt/.venv/bin/pandagpt", "/bin/true")  # it looks for the program
    file = tmp_path / f"{unit}.service"
    file.write_text(made, encoding="utf-8")
    command = [program("systemd-analyze", "systemd"), "verify", "--man=no", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    faults = [line for line in done.stderr.splitlines() if unit in line]
    assert faults == []


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_names_settings_that_exist(root: Path, unit: str) -> None:
    page = (root / "docs/settings.md").read_text(encoding="utf-8")
    named = re.findall(r"PANDAGPT_[A-Z_]+", text(root, unit))
    assert named
    assert [name for name in named if name not in page] == []


@pytest.mark.parametrize(
    ("unit", "longest"),
    [
        (UNITS[0], GatewaySettings().shutdown_delay_s + GatewaySettings().drain_grace_s),
        (UNITS[1], WorkerSettings().drain_grace_s),
    ],
)
def test_stopping_takes_no_longer_than_systemd_waits(root: Path, unit: str, longest: float) -> None:
    found = re.search(r"^TimeoutStopSec=(\d+)$", text(root, unit), re.MULTILINE)
    assert found is not None
    assert float(found[1]) > longest
