"""The guides are true: every snippet runs, as it stands but for the address, against a gateway with a fake worker.

Open WebUI is run by tests/contract/test_open_webui.py alone, where it is installed. Here its variables are read, and
the requests that it makes with them (list of models, streamed chat with a picture) are made.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from service import cli
from service.settings import StoreSettings
from service.settings import load as load_settings
from tests.conftest import ROOT
from tests.contract import made
from tests.contract.conftest import running, settings_for, store  # noqa: F401  a fixture
from tests.fakes import FAKE_INFO, FakeRuntime, worker_thread

GUIDES = ROOT / "docs/guides"
ADDRESS = "http://127.0.0.1:8000"
# Run by tests/test_training_guide.py, which needs no gateway, by tests/gateway/test_places.py, whose model points, and
# by tests/contract/test_programs_of_guides.py, with the programs themselves; by tests/test_two_systems.py, whose
# commands are servers; by tests/contract/test_clients.py, whose packages live in an environment of their own.
ELSEWHERE = {
    "clients.md",
    "guidellm.md",
    "imagebind-llm.md",
    "litellm-proxy.md",
    "lm-eval.md",
    "locate.md",
    "n8n.md",
    "training.md",
}


@pytest.fixture(scope="module")
def url(store: StoreSettings) -> Iterator[str]:  # noqa: F811  the fixture
    """A gateway whose only model is called as in the guides, and which keeps requests without readers."""
    guided = store.model_copy(update={"namespace": "guides"})
    runtime = FakeRuntime(info=replace(FAKE_INFO, id="panda-mini"), step_delay=0.01)
    with (
        worker_thread(guided, runtime),
        running(settings_for(guided, disconnect_grace_s=20.0)) as (address, _),
    ):
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dog.png").write_bytes(made.PNG)
    (tmp_path / "bark.wav").write_bytes(made.sound("wav"))
    return tmp_path


def snippets(language: str) -> list[tuple[str, str]]:
    """(page, code) of every block of that language."""
    pages = [page for page in sorted(GUIDES.glob("*.md")) if page.name not in ELSEWHERE]
    return [
        (page.name, code)
        for page in pages
        for code in re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ]


def names(found: list[tuple[str, str]]) -> list[str]:
    return [f"{page}-{at}" for at, (page, _) in enumerate(found)]


def ran(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("page", "code"), snippets("python"), ids=names(snippets("python")))
def test_a_python_snippet_runs_and_prints(page: str, code: str, url: str, folder: Path) -> None:
    assert ran([sys.executable, "-c", code.replace(ADDRESS, url)], folder).strip()


def test_the_resume_guides_stream_breaks_after_an_event_and_its_rest_is_read(url: str, folder: Path) -> None:
    [code] = [code for page, code in snippets("python") if page == "resume.md"]
    broken, whole = ran([sys.executable, "-c", code.replace(ADDRESS, url)], folder).split("whole: ")
    begun = broken.removeprefix("broken after event 3: ").rstrip("\n")
    assert begun != broken
    assert whole.startswith(begun)
    assert len(whole.strip()) > len(begun)


@pytest.mark.parametrize(("page", "code"), snippets("sh"), ids=names(snippets("sh")))
def test_a_shell_snippet_runs_and_prints(
    page: str, code: str, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PANDAGPT_CLIENT_URL", url)
    for line in code.splitlines():
        program, *words = shlex.split(line.replace(ADDRESS, url))
        if program == "pandagpt":
            status = cli.main(words)
            output = capsys.readouterr().out
            assert status == 0 or words == ["doctor"], "on this machine something may stand in the way"
        else:
            assert program == "curl"
            if shutil.which("curl") is None:
                pytest.skip("no curl on this machine")
            output = ran(["curl", "--fail-with-body", *words], folder)
        assert output.strip()


def test_the_node_snippet_streams_an_answer(url: str, folder: Path) -> None:
    package = ROOT / ".cache/contract-node"
    if shutil.which("node") is None or not (package / "node_modules/.package-lock.json").is_file():
        pytest.skip("no Node here, or the package is not installed yet (tests/contract/test_node_client.py does it)")
    [code] = [code for _, code in snippets("js") if 'from "openai"' in code]  # the AI SDK's: contract/test_ai_sdk.py
    script = package / "guide.mjs"
    script.write_text(code.replace(ADDRESS, url), encoding="utf-8")
    assert ran(["node", "--no-warnings", str(script)], folder).startswith("<image:")


def test_open_webui_would_find_models_and_a_streamed_answer(url: str) -> None:
    [(_, env)] = snippets("env")
    variables = dict(line.split("=", 1) for line in env.splitlines())
    address = variables["OPENAI_API_BASE_URLS"].replace(ADDRESS, url)
    headers = {"authorization": f"Bearer {variables['OPENAI_API_KEYS']}"}
    with httpx.Client(base_url=address, headers=headers, timeout=20, trust_env=False) as http:
        [model] = http.get("models").json()["data"]
        picture = {"type": "image_url", "image_url": {"url": made.data_url(made.PNG, "image/png")}}
        content = [{"type": "text", "text": "What is this?"}, picture]
        body = {"model": model["id"], "messages": [{"role": "user", "content": content}], "stream": True}
        body |= {"stream_options": {"include_usage": True}, "metadata": {}, "chat_id": "x"}
        answer = http.post("chat/completions", json=body)
    assert answer.text.endswith("data: [DONE]\n\n")


def test_every_guide_is_listed_and_every_link_leads_somewhere() -> None:
    listed = set(re.findall(r"\]\((\w[\w-]*\.md)\)", (GUIDES / "README.md").read_text(encoding="utf-8")))
    assert listed == {page.name for page in GUIDES.glob("*.md")} - {"README.md"}
    for page in GUIDES.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (GUIDES / link).exists(), f"{page.name}: {link}"


def test_every_snippet_is_of_a_language_that_is_run() -> None:
    for page in (page for page in GUIDES.glob("*.md") if page.name not in ELSEWHERE):
        kinds = set(re.findall(r"^```(\w+)$", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert kinds <= {"python", "sh", "js", "env", "toml", "text"}, page.name  # text is shown, not run


TOML = snippets("toml")


@pytest.mark.parametrize(("page", "code"), TOML, ids=names(TOML))
def test_settings_files_are_taken(page: str, code: str) -> None:
    chosen = load_settings(tomllib.loads(code))
    for section, values in tomllib.loads(code).items():
        told = getattr(chosen, section).model_dump(mode="json")
        assert {name: told[name] for name in values} == values, page
