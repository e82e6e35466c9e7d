"""Every command in every page is a right one: its program is known, its arguments are taken, its targets exist.

Guides run their snippets (`tests/test_guides.py`), and README's run against the default model (`tests/test_readme.py`).
"""

import hashlib
import re
import shlex
import shutil
import subprocess
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from service import cli
from service.gateway.errors import ERRORS, GatewayError, error_headers
from service.settings import StoreSettings
from tests.conftest import ROOT
from tests.contract.conftest import running, settings_for, store  # noqa: F401  a fixture
from tests.fakes import FakeRuntime, worker_thread
from tests.pages import ADDRESS, blocks, pages

# Programs of the machine that a page shows the use of. Nothing here runs them.
SHOWN = {
    *("docker", "docker-compose", "kubectl", "helm", "systemctl", "journalctl", "cp", "cat", "echo", "export"),
    *("source", "torchrun", "accelerate", "eval"),
}
# Run by tests/contract/test_programs_of_guides.py where they are installed.
RUN_ELSEWHERE = {"litellm", "llm", "lm-eval", "guidellm"}


def commands(page: Path) -> Iterator[str]:
    """Each command of the page's shell blocks; lines that end in a backslash are joined.

    A block of text is shown and not run, so it may need files that are not here. Its commands must be right calls too.
    """
    for block in blocks(page, "sh"):
        yield from (line for line in _lines(block) if not line.startswith("#"))
    for block in blocks(page, "text"):
        yield from (line for line in _lines(block) if re.match(r"(?:pandagpt|make|curl) ", line))


def _lines(block: str) -> list[str]:
    block = re.sub(r"<<'?END'?\n.*?^END$", "", block, flags=re.DOTALL | re.MULTILINE)
    return [line for line in re.sub(r"\\\n\s*", " ", block).splitlines() if line.strip()]


def compound(page: Path) -> bool:
    """Whether a shell block has here-documents, joined lines, loops or branches."""
    return any(
        re.search(r"<<|\\\n|^\s*(?:for|while|until|if|case) ", block, re.MULTILINE) for block in blocks(page, "sh")
    )


def found() -> list[tuple[str, str]]:
    return [(str(page.relative_to(ROOT)), line) for page in pages() for line in commands(page)]


def _make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [word for word in words if "=" not in word]
    assert targets
    assert all(f"\n{target}:" in makefile for target in targets)


def _pandagpt(words: list[str]) -> None:
    if words == ["--version"]:
        return
    name, *rest = words
    parser = ArgumentParser(exit_on_error=False)
    import_module(cli.COMMANDS[name][0]).configure(parser)
    parser.parse_args(rest)


def _python(words: list[str]) -> None:
    if words[0] == "-m":
        name = words[1].replace(".", "/")
        assert words[1] in {"pytest", "build", "pip", "venv"} or any(
            (ROOT / f"{name}{end}").exists() for end in (".py", "/__main__.py")
        )
    else:
        assert (ROOT / words[0]).is_file()
        assert all((ROOT / word).exists() for word in words if word.startswith("samples/"))


def _pip(words: list[str]) -> None:
    """No package index has this project: it is installed from its folder or from a wheel."""
    assert words[0] == "install"
    assert not [word for word in words if re.fullmatch(r"pandagpt(?:\[.*\])?", word)]


def _set_up(words: list[str]) -> None:
    script = (ROOT / "requirements/install").read_text(encoding="utf-8")
    offered = re.search(r"usage: requirements/install (\S+)", script)
    assert offered is not None
    assert words[0] in offered[1].rstrip("}").split("|")


def _curl(words: list[str]) -> None:
    assert any(ADDRESS in word or word.startswith("https://") for word in words)


PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "make": _make,
    "pandagpt": _pandagpt,
    "python": _python,
    "python3": _python,
    "curl": _curl,
    "pip": _pip,
    "install": _set_up,
}


@pytest.mark.parametrize(("page", "line"), found())
def test_a_command_in_a_page_is_a_right_call(page: str, line: str) -> None:
    line = re.sub(r"^\w+=\$\(.*\)(?:;.*)?$|^[A-Z_]+=\S+ ", "", line)
    words = shlex.split(line, comments=True)
    if not words:
        return
    program = Path(words[0]).name
    if program in SHOWN | RUN_ELSEWHERE:
        return
    assert program in PROGRAMS, f"{page}: nothing checks {program}"
    PROGRAMS[program]([word for word in words[1:] if word not in {">", ">>", "|"}])


SHELL = [str(page.relative_to(ROOT)) for page in pages() if blocks(page, "sh")]


@pytest.mark.parametrize("page", SHELL)
def test_each_shell_block_is_whole_for_a_shell(page: str) -> None:
    """A here-document that does not end, or a loop without `done`, fails here."""
    for block in blocks(ROOT / page, "sh"):
        parsed = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (parsed.returncode, parsed.stderr) == (0, ""), block


def test_each_page_with_commands_of_several_lines_is_run_as_a_whole() -> None:
    """Blocks that are more than a list of calls are given to a shell, here or by the programs of the guides."""
    assert {str(page.relative_to(ROOT)) for page in pages() if compound(page)} == {
        "deploy/README.md",  # the next test
        "docs/guides/lm-eval.md",  # tests/contract/test_programs_of_guides.py
        "docs/guides/guidellm.md",
    }


def test_the_secrets_of_a_deployment_are_made_as_printed(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    [block] = [block for block in blocks(ROOT / "deploy/README.md", "sh") if "<<END" in block]
    (tmp_path / "deploy").mkdir()
    done = subprocess.run(["bash", "-euc", block], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    key = done.stdout.rpartition("the key of alice: ")[2].strip()
    assert (tmp_path / "deploy/keys").read_text() == f"alice {hashlib.sha256(key.encode()).hexdigest()} user\n"
    assert re.fullmatch(r"(STORE_(GATEWAY|WORKER)_PASSWORD=[0-9a-f]{64}\n){2}", (tmp_path / ".env").read_text())


def test_the_curl_lines_of_the_first_pages_bring_answers(store: StoreSettings) -> None:  # noqa: F811  the fixture
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    lines = [line for page in ("start.md", "captions.md", "errors.md") for line in commands(ROOT / "docs" / page)]
    calls = [shlex.split(line) for line in lines if line.startswith("curl ")]
    assert calls
    own = store.model_copy(update={"namespace": "first-pages"})
    with worker_thread(own, FakeRuntime()), running(settings_for(own)) as (url, _):
        for words in calls:
            command = ["curl", "-sS", "--fail-with-body", *(word.replace(ADDRESS, url) for word in words[1:])]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stdout
            assert done.stdout


def test_the_table_of_errors_is_the_codes() -> None:
    text = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| ([^|]+) \|", text, re.MULTILINE)
    assert {code: int(status) for code, status, _ in rows} == {code: row.status for code, row in ERRORS.items()}
    for code, _, when in rows:
        headers = error_headers(GatewayError(code, "x"))
        assert ("retry-after" in headers) == (when == "after `retry-after`"), code
        assert headers.get("x-should-retry") != "false" or when == "never", code
