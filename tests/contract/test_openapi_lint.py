"""openapi.yaml under Spectral, the linter that most who read OpenAPI use: no finding of any severity."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

CACHE = ROOT / ".cache/contract-spectral"
LINTER = "@stoplight/spectral-cli@6.16.3"
INSTALL_S = 60


@pytest.fixture(scope="module")
def spectral() -> Path:
    """The linter, installed once; skips where that cannot be."""
    program = CACHE / "node_modules/.bin/spectral"
    if not program.exists():
        if shutil.which("npm") is None:
            pytest.skip("no Node on this machine")
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "package.json").write_text('{"private": true}')
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", LINTER]
        try:
            ran = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("npm did not get the linter in time")
        if ran.returncode:
            pytest.skip(f"npm cannot install the linter here: {ran.stderr.strip().splitlines()[-1:]}")
    return program


def test_spectral_finds_nothing_in_openapi_yaml(spectral: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text('extends: ["spectral:oas"]\n')
    command = [spectral, "lint", "--ruleset", rules, "--fail-severity", "hint", ROOT / "openapi.yaml"]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
