"""The recipes of CONTRIBUTING.md: each is carried out in a copy of the repository, and used over HTTP there."""

import os
import re
import subprocess
import sys
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
def test_probe(store):
    own = settings_for(store, max_lines=7)
    with running(own) as (_, state):
        assert state.limits.max_lines == 7
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
}


def recipes() -> dict[str, list[tuple[str, str, str]]]:
    """Heading -> (file, the line before, the lines to add) of each of its blocks."""
    text = PAGE.read_text(encoding="utf-8").split("## Recipes")[1].split("\n## ")[0]
    found = {}
    for section in text.split("\n### ")[1:]:
        blocks = re.findall(r"```diff\n--- (\S+)\n (.*)\n((?:\+.*\n)+)```", section)
        found[section.splitlines()[0]] = [
            (file, line, re.sub(r"^\+", "", new, flags=re.M)) for file, line, new in blocks
        ]
    return found


def carried_out(changes: list[tuple[str, str, str]], folder: Path) -> None:
    """A copy of the repository with these changes. Fails where a line is not there, or more than once."""
    tracked = subprocess.run(["git", "ls-files", *TREES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((ROOT / name).read_bytes())
    for file, line, new in changes:
        text = (folder / file).read_text(encoding="utf-8")
        assert text.count(f"{line}\n") == 1, f"{file} has {text.count(line)} times: {line}"
        (folder / file).write_text(text.replace(f"{line}\n", f"{line}\n{new}"), encoding="utf-8")


TREES = ("service", "pandagpt_core", "tests/*.py", "tests/contract/*.py", "pyproject.toml", "openapi.yaml")


@pytest.mark.parametrize("name", PROBES)
def test_a_recipe_works_as_written(name: str, tmp_path: Path) -> None:
    changes = recipes()[name]
    assert 1 <= len({file for file, _, _ in changes}) <= 4
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
