"""Clients that call functions and ask for typed answers, each by its own package in a process of its own.

They live in a virtual environment of their own, since they hold one another to other versions than the project's:
`python -m venv .clients && .clients/bin/pip install -r requirements/clients.txt`.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.contract.environment import PYTHON
from tests.contract.scripted import Scripted, scripted_gateway

CLIENTS = Path(__file__).with_name("clients")
GUIDE = ROOT / "docs/guides/clients.md"
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HAYSTACK_TELEMETRY_ENABLED": "False", "DO_NOT_TRACK": "1"}
TIME_S = 170


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    with scripted_gateway(tmp_path_factory.mktemp("clients")) as scripted:
        yield scripted


def ran(command: Sequence[str | Path], **more: str) -> str:
    """Output of a program in the clients' environment."""
    if not PYTHON.is_file():
        pytest.skip("the clients are not installed: requirements/clients.txt")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI_"))}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIME_S, env={**env, **QUIET, **more}, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def sections() -> dict[str, list[str]]:
    """The guide's blocks of code by the headings above them."""
    parts = re.split(r"^## (.+)\n", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    bodies = zip(parts[::2], parts[1::2], strict=True)
    return {name: re.findall(r"```\w+\n(.*?)```", body, re.DOTALL) for name, body in bodies}


@pytest.mark.parametrize("script", sorted(CLIENTS.glob("*_.py")), ids=lambda path: path.stem.strip("_"))
def test_a_client_gets_its_calls_and_typed_answers(scripted: Scripted, script: Path) -> None:
    ran([PYTHON, "-I", script, f"{scripted.url}/v1"])


@pytest.mark.parametrize("name", [name for name in sections() if name != "llm"])
def test_a_snippet_of_the_clients_guide_prints_an_answer(scripted: Scripted, name: str) -> None:
    [code] = sections()[name]
    assert "Paris" in ran([PYTHON, "-I", "-c", _here(code, scripted)])


def test_the_guides_model_of_llm_answers_in_the_shell(scripted: Scripted, tmp_path: Path) -> None:
    described, command = (_here(block, scripted) for block in sections()["llm"])
    (tmp_path / "extra-openai-models.yaml").write_text(described, encoding="utf-8")
    program, *words = shlex.split(command)
    assert "Paris" in ran([PYTHON.with_name(program), *words], LLM_USER_PATH=str(tmp_path))


def _here(block: str, scripted: Scripted) -> str:
    return block.replace("http://127.0.0.1:8000", scripted.url).replace("panda-mini", "scripted")


def test_every_script_has_its_package_pinned() -> None:
    pinned = (ROOT / "requirements/clients.txt").read_text(encoding="utf-8").replace("-", "_")
    for script in CLIENTS.glob("*_.py"):
        assert f"\n{script.stem.strip('_')}" in pinned, script.name
