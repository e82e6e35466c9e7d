"""README.md is true: its commands exist, its files are there, its snippets run against the model that it names."""

import re
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from service import cli
from tests.serving import Served, served

ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def mini(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    model = root / "models/panda-mini"
    if not (model / "config.json").is_file():
        pytest.skip("models/panda-mini is not in this checkout")
    with served(model, tmp_path_factory.mktemp("readme")) as running:
        yield running


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str, name: str) -> list[list[str]]:
    """Every line of the shell blocks that calls `name`, as words."""
    lines = (line for block in blocks(text, "sh") for line in block.splitlines())
    words = (shlex.split(line, comments=True) for line in lines)
    return [line for line in words if line and Path(line[0]).name == name]


def test_every_make_target_exists(text: str, root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    called = re.findall(r"make ([a-z]+)", text)
    assert {"serve", "test"} <= set(called)
    assert not [target for target in called if f"\n{target}:" not in makefile]


def test_every_pandagpt_command_is_a_right_call(text: str) -> None:
    calls = commands(text, "pandagpt")
    assert {"chat", "convert", "gateway", "worker", "serve"} <= {words[1] for words in calls}
    for _, name, *words in calls:
        parser = ArgumentParser(exit_on_error=False)
        import_module(cli.COMMANDS[name][0]).configure(parser)
        parser.parse_args(words)


def test_every_linked_file_exists(text: str, root: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert links
    assert not [link for link in links if not (root / link.partition("#")[0]).exists()]


def test_the_curl_lines_bring_answers_the_first_one_as_a_stream(text: str, root: Path, mini: Served) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    lines = [
        ["curl", "-s", *(word.replace(ADDRESS, mini.url) for word in words[1:])] for words in commands(text, "curl")
    ]
    outputs = [
        subprocess.run(words, cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout
        for words in lines
    ]
    assert outputs[0].rstrip().endswith("data: [DONE]")
    assert [output for output in outputs if '"content":' not in output] == []
    asked = {word.partition("=")[0] for words in lines for word in words if "=@samples/" in word}
    assert asked == {"image", "video", "audio", "depth", "thermal", "imu"}


def test_the_openai_snippets_print_answers(text: str, root: Path, mini: Served) -> None:
    snippets = blocks(text, "python")
    assert len(snippets) == 2
    for code in snippets:
        command = [sys.executable, "-c", code.replace(ADDRESS, mini.url)]
        output = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout
        assert output.strip()


def test_the_chat_command_prints_an_answer(text: str, root: Path, mini: Served) -> None:
    [words] = [words for words in commands(text, "pandagpt") if words[1] == "chat"]
    command = [sys.executable, "-m", "service.cli", *words[1:], "--url", mini.url, "What is this?"]
    output = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout
    assert output.strip()


def test_the_conversation_goes_as_it_is_shown(text: str, root: Path, mini: Served) -> None:
    """The page's commands print the shown lines, and each question has an answer; the words are one machine's."""
    [shown] = [block for block in blocks(text, "text") if block.startswith("$ ")]
    call, *typed = re.findall(r"^[$>] (.+)$", shown, re.MULTILINE)
    command = [sys.executable, "-m", "service.cli", *shlex.split(call)[1:], "--url", mini.url]
    said = "".join(f"{line}\n" for line in typed)
    answers = subprocess.run(command, cwd=root, input=said, capture_output=True, text=True, check=True, timeout=60)
    expected, printed = re.findall(r"^[^$>\n].*$", shown, re.MULTILINE), answers.stdout.splitlines()
    assert len(printed) == len(expected) == len(typed)
    replies = [(typed[at], printed[at], expected[at]) for at in range(len(typed))]
    assert [one for one in replies if one[0].startswith("/") and one[1] != one[2]] == []
    assert all(printed)
