"""The AI SDK (npm `ai`), unmodified, by its three ways to OpenAI's interface: ai_sdk/client.mjs, run once.

`@ai-sdk/openai-compatible`, and `@ai-sdk/openai` over chat completions and over responses.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.contract import made
from tests.contract.npm import installed
from tests.contract.scripted import Scripted, scripted_gateway
from tests.scripted import SCRIPTED_INFO, SENTENCE, ScriptedRuntime

HERE = Path(__file__).with_name("ai_sdk")
SCRIPTS = ("client.mjs", "kinds.mjs")
GUIDE, ADDRESS, SDK = ROOT / "docs/guides/node.md", "http://127.0.0.1:8000", 'from "ai"'
PROVIDERS = ["compatible", "chat", "responses"]
TIME_S = 170

CITY = {"name": "Paris", "people": 36, "tags": ["Paris"], "sky": "blue", "mayor": {"name": "Paris", "since": 3.5}}
CALL = ["weather", {"city": "Paris", "days": 36, "units": {}}]
STEPS = [["tool-calls", [CALL], ["Paris in 36 days: sunny"], ""], ["stop", [], [], SENTENCE]]
EXPECTED: dict[str, Any] = {
    "object": CITY,
    "array": 1,
    "choice": "yes",
    "object_stream": {"several": True, "object": CITY},
    "output": CITY,
    "output_after_tools": [{"sky": "grey"}, 2],
    "kinds_that_fail": {},
    "tools": STEPS,
    "required": [CALL],
    "named": [["now", {}]],
    "none": SENTENCE,
    "text": {"text": SENTENCE, "finishReason": "stop", "counted": True},
    "text_stream": {"text": SENTENCE, "several": True, "finishReason": "stop", "counted": True},
    "tool_stream": {"kinds": [1, 1, 1, 0], "pieces": True, "steps": STEPS},
    "picture": SENTENCE,
    "cut": "length",
    "refused": {
        "name": "AI_APICallError",
        "status": 400,
        "retry": False,
        "message": "temperature must be at most 100.0.",
    },
}


@pytest.fixture(scope="module")
def package() -> Path:
    return installed(HERE, ROOT / ".cache/contract-ai-sdk")


@pytest.fixture(scope="module")
def scripted(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    runtime = ScriptedRuntime(info=replace(SCRIPTED_INFO, id="panda-mini"))  # as the guide has it
    with scripted_gateway(tmp_path_factory.mktemp("ai-sdk"), runtime) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def results(package: Path, scripted: Scripted, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    picture = tmp_path_factory.mktemp("ai-sdk-picture") / "a.png"
    picture.write_bytes(made.PNG)
    for name in SCRIPTS:
        shutil.copy(HERE / name, package)
    env = os.environ | {"OPENAI_BASE_URL": f"{scripted.url}/v1", "PICTURE": str(picture)}
    command = ["node", "--no-warnings", "client.mjs"]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIME_S, check=False, cwd=package)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("check", list(EXPECTED))
def test_the_ai_sdk_gets_what_it_expects(results: dict[str, Any], provider: str, check: str) -> None:
    assert results[provider][check] == EXPECTED[check]


def test_every_check_of_every_provider_is_looked_at(results: dict[str, Any]) -> None:
    assert {name: set(checks) for name, checks in results.items()} == {name: set(EXPECTED) for name in PROVIDERS}


def test_pictures_and_results_of_the_ai_sdk_reach_the_model(results: dict[str, Any], scripted: Scripted) -> None:
    assert results
    seen = [conversation for conversation, _ in scripted.runtime.seen]
    assert len([one for one in seen if one.media]) == len(PROVIDERS)
    told = {turn.text for one in seen for turn in one.turns if turn.role == "tool"}
    assert "Paris in 36 days: sunny" in told


def test_the_guides_program_runs_as_it_stands(package: Path, scripted: Scripted, tmp_path: Path) -> None:
    [code] = [
        code for code in re.findall(r"```js\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL) if SDK in code
    ]
    script = package / "guide.mjs"
    script.write_text(code.replace(ADDRESS, scripted.url), encoding="utf-8")
    (tmp_path / "dog.png").write_bytes(made.PNG)
    command = ["node", "--no-warnings", str(script)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=TIME_S, check=False, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["{ animal: 'Paris', colours: [ 'Paris' ] }", SENTENCE, SENTENCE]


def test_the_lock_file_names_no_registry() -> None:
    assert "resolved" not in (HERE / "package-lock.json").read_text(encoding="utf-8")
