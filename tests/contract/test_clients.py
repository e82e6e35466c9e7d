"""Clients that call functions and ask for typed answers, each by its own package in a process of its own.

They live in a virtual environment of their own, since they hold one another to other versions than the project's:
`python -m venv .clients && .clients/bin/pip install -r requirements/clients.txt`.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.contract.scripted import Scripted, scripted_gateway

CLIENTS = Path(__file__).with_name("clients")
PYTHON = Path(os.environ.get("PANDAGPT_CLIENTS_PYTHON", ROOT / ".clients/bin/python"))
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HAYSTACK_TELEMETRY_ENABLED": "False", "DO_NOT_TRACK": "1"}
TIME_S = 170


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    with scripted_gateway(tmp_path_factory.mktemp("clients")) as scripted:
        yield scripted


@pytest.mark.parametrize("script", sorted(CLIENTS.glob("*_.py")), ids=lambda path: path.stem.strip("_"))
def test_a_client_gets_its_calls_and_typed_answers(scripted: Scripted, script: Path) -> None:
    if not PYTHON.is_file():
        pytest.skip("the clients are not installed: requirements/clients.txt")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI_"))}
    ran = subprocess.run(
        [PYTHON, "-I", script, f"{scripted.url}/v1"],
        capture_output=True,
        text=True,
        timeout=TIME_S,
        env={**env, **QUIET},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]


def test_every_script_has_its_package_pinned() -> None:
    pinned = (ROOT / "requirements/clients.txt").read_text(encoding="utf-8").replace("-", "_")
    for script in CLIENTS.glob("*_.py"):
        assert f"\n{script.stem.strip('_')}" in pinned, script.name
