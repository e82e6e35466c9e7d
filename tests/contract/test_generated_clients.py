"""Clients that generators make of openapi.yaml, run against the gateway: chat, forms, embeddings, files, errors.

Python's generator stands with the other clients in `.clients` (requirements/clients.txt), TypeScript's comes by npm.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.contract import made
from tests.contract.environment import PYTHON
from tests.contract.npm import installed

HERE = Path(__file__).with_name("generated")
SPEC = ROOT / "openapi.yaml"
TIME_S = 120
CHECKS = ["chat", "generate", "embeddings", "files", "errors"]
TYPES = ["--strict", "--noUncheckedIndexedAccess", "--module", "nodenext", "--target", "es2022", "--skipLibCheck"]


def ran(command: list[str | Path], folder: Path) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=TIME_S, env=env, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "picture.png").write_bytes(made.PNG)
    return tmp_path / "picture.png"


def test_a_generated_python_client_asks_and_reads_answers(url: str, picture: Path, tmp_path: Path) -> None:
    generator = PYTHON.with_name("openapi-python-client")
    if not generator.is_file():
        pytest.skip("openapi-python-client is not installed: requirements/clients.txt")
    command = [generator, "generate", "--path", SPEC, "--output-path", tmp_path / "made", "--meta", "none"]
    said = ran(command, tmp_path)
    assert [line for line in said.splitlines() if line.startswith("WARNING")] == [
        "WARNING parsing GET /v1/requests/{request_id}/annotated within requests."  # it reads no pictures
    ]
    checked = ran([PYTHON, "-I", HERE / "client.py", tmp_path, url, picture], tmp_path)
    assert checked.split() == CHECKS


@pytest.fixture(scope="module")
def packages() -> Path:
    return installed(HERE, ROOT / ".cache/contract-generated")


def test_a_generated_typescript_client_asks_and_reads_answers(packages: Path, url: str, picture: Path) -> None:
    shutil.copy(HERE / "client.ts", packages)
    programs = packages / "node_modules/.bin"
    ran([programs / "openapi-typescript", SPEC, "--default-non-nullable", "false", "-o", "api.d.ts"], packages)
    ran([programs / "tsc", *TYPES, "client.ts"], packages)
    assert ran(["node", "client.js", url, picture], packages).split() == CHECKS
