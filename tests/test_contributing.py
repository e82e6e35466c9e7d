"""The recipes of CONTRIBUTING.md: each is carried out in a copy of the repository, and used over HTTP there."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "CONTRIBUTING.md"
PROBES = {
    "A request parameter": """
from tests.contract.conftest import *
def test_probe(runtime, http):
    body = {"messages": [{"role": "user", "content": "Hi"}], "calm": 0.5, "max_tokens": 1}
    assert http.post("/v1/chat/completions", json=body).status_code == 200
    assert runtime.seen[-1][1].calm == 0.5
    form = {"prompt": (None, "Hi"), "calm": (None, "0.25")}
    assert http.post("/v1/generate", files=form).status_code == 200
    assert runtime.seen[-1][1].calm == 0.25
    assert http.post("/v1/chat/completions", json=body | {"calm": 2}).json()["error"]["param"] == "calm"
    assert "calm" in http.get("/openapi.json").text
""",
    "A setting": """
from service.settings import load
from service.settings.page import page
def test_probe(monkeypatch):
    monkeypatch.setenv("PANDAGPT_GATEWAY_MOTTO", "ask")
    assert load().gateway.motto == "ask"
    assert "`PANDAGPT_GATEWAY_MOTTO`" in page()
""",
    "A limit": """
from service.settings import Settings
from service.gateway.inference.validated import RequestLimits
from tests.contract.conftest import *
import httpx
from tests.fakes import worker_thread
def test_probe(store):
    own = store.model_copy(update={"namespace": "lines"})
    with worker_thread(own), running(settings_for(own, max_lines=7)) as (url, _):
        said = [
            httpx.post(f"{url}/v1/chat/completions", json={"messages": [{"role": "user", "content": text}]}).json()
            for text in ("\\n" * 6, "\\n" * 7)
        ]
    assert "choices" in said[0]
    assert said[1]["error"]["message"] == "There are 8 lines of text; the limit is 7."
    assert RequestLimits().max_lines == 10_000
""",
    "A metric": """
from tests.contract.conftest import *
def test_probe(http):
    before = float(http.get("/metrics").text.split("\\npandagpt_questions_total ")[1].split()[0])
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    assert http.post("/v1/chat/completions", json=body).status_code == 200
    assert f"\\npandagpt_questions_total {before + 1}" in http.get("/metrics").text
""",
    "A model system": f"""
import json
from importlib import import_module
from pathlib import Path
from pandagpt_core.checkpoints import read_model_folder
from pandagpt_core.systems import SYSTEMS
def test_probe(tmp_path):
    config = json.loads(Path({str(ROOT / "models/panda-mini/config.json")!r}).read_text()) | {{"system": "wordy"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    folder = read_model_folder(tmp_path)
    assert (type(folder).__name__, folder.system) == ("WordyFolder", "wordy")
    module, name = SYSTEMS[folder.system]
    system = getattr(import_module(module), name)
    assert system.parse(object.__new__(system), "a brown dog") == {{"words": 3}}
""",
    "A converter": """
import json
from service import cli
def test_probe(tmp_path, capsys):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/config.json").write_text('{"id": "a"}')
    call = ["convert", "--system", "renamed", "--folder", str(tmp_path / "old"), "--out", str(tmp_path / "new")]
    assert cli.main(call) == 2
    assert "--system renamed needs --id" in capsys.readouterr().err
    assert cli.main([*call, "--id", "b"]) == 0
    assert json.loads((tmp_path / "new/config.json").read_text()) == {"id": "b"}
    assert f"serve it: pandagpt serve --model {tmp_path / 'new'}" in capsys.readouterr().out
""",
}
MODALITY = "A modality, and with it a content part, form fields and an embedding input"


@dataclass(frozen=True)
class Change:
    """Of a file, lines that are replaced by others, behind a line that stays; of a new file, all lines."""

    file: str
    old: str
    new: str


def recipes() -> dict[str, list[Change]]:
    """Heading -> each of its blocks."""
    text = PAGE.read_text(encoding="utf-8").split("## Recipes")[1].split("\n## ")[0]
    sections = {section.splitlines()[0]: section for section in text.split("\n### ")[1:]}
    return {
        name: [change(block) for block in re.findall(r"```diff\n(.*?)```", section, re.DOTALL)]
        for name, section in sections.items()
    }


def change(block: str) -> Change:
    head, *lines = block.splitlines()
    if head == "--- /dev/null":
        head, *lines = lines
    old = [line[1:] for line in lines if not line.startswith("+")]
    new = [line[1:] for line in lines if not line.startswith("-")]
    return Change(head[4:], *("".join(f"{line}\n" for line in part) for part in (old, new)))


def carried_out(changes: list[Change], folder: Path) -> None:
    """A copy of the repository with these changes. Fails where a line is not there, or more than once."""
    tracked = subprocess.run(["git", "ls-files", *TREES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((ROOT / name).read_bytes())
    for each in changes:
        place = folder / each.file
        text = place.read_text(encoding="utf-8") if each.old else ""
        assert not each.old or text.count(each.old) == 1, f"{each.file} has {text.count(each.old)} times: {each.old}"
        place.write_text(text.replace(each.old, each.new) if each.old else each.new, encoding="utf-8")


TREES = ("service", "pandagpt_core", "tests/*.py", "tests/contract/*.py", "pyproject.toml", "openapi.yaml")


@pytest.mark.parametrize("name", PROBES)
def test_a_recipe_works_as_written(name: str, tmp_path: Path) -> None:
    changes = recipes()[name]
    assert 1 <= len({change.file for change in changes}) <= 4
    carried_out(changes, tmp_path)
    (tmp_path / "tests/test_probe.py").write_text(PROBES[name].lstrip(), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_probe.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PANDAGPT_", "PYTEST_"))}
    return kept | {"PYTHONPATH": str(folder)}


def test_every_path_that_a_recipe_names_exists() -> None:
    text = PAGE.read_text(encoding="utf-8").split("## Recipes")[1]
    paths = re.findall(r"`((?:service|pandagpt_core|tests|deploy|docs)/[\w/.-]+)`", text)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_recipe_has_changes_or_a_test_of_its_own() -> None:
    assert {name for name, changes in recipes().items() if changes} == set(PROBES)
    assert set(recipes()) - set(PROBES) == {MODALITY}
    assert "`tests/modalities/test_invented.py`" in PAGE.read_text(encoding="utf-8").split(MODALITY)[1]
