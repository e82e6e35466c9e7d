"""The command: its table, its help, its mistakes."""

import argparse
import importlib
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from pandagpt_core.errors import CheckpointError, InvalidRequest, PandaGPTError
from service import cli
from service.settings import SettingsError
from tests.conftest import ROOT


def test_every_command_of_the_table_can_be_loaded_and_describes_its_arguments() -> None:
    for module, _ in cli.COMMANDS.values():
        command = importlib.import_module(module)
        parser = argparse.ArgumentParser()
        command.configure(parser)
        assert callable(command.run)


def test_every_command_module_is_in_the_table(root: Path) -> None:
    listed = {module.rpartition(".")[2] for module, _ in cli.COMMANDS.values()}
    has_run = {
        path.stem
        for path in (root / "service/commands").rglob("*.py")
        if path.parent.name != "converters" and "\ndef run(" in path.read_text(encoding="utf-8")
    }
    assert listed == has_run


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    output = capsys.readouterr().out
    assert all(f"\n  {name} " in output for name in cli.COMMANDS)


def test_help_loads_no_heavy_module(root: Path) -> None:
    code = "import sys; from service import cli; cli.main(['--help']); print(sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout
    assert not [name for name in ("torch", "pydantic", "fastapi", "redis", "httpx") if f"'{name}'" in output]


@pytest.mark.parametrize("name", ["serve", "gateway", "chat", "eval"])
def test_only_the_worker_needs_torch(name: str, root: Path) -> None:
    code = f"import sys, {cli.COMMANDS[name][0]}; print(sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout
    assert "'torch'" not in output


def test_a_reader_that_leaves_ends_a_command_without_a_word(root: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "service.cli", "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, cwd=root, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("pandagpt ch", "chat"), ("pandagpt inspect --j", "--json"), ("pandagpt queue re", "retry")],
)
def test_the_tab_key_completes_commands_and_options(typed: str, offered: str, root: Path, tmp_path: Path) -> None:
    """As the shell's function of argcomplete calls the program: the candidates go to a file of its own."""
    found = tmp_path / "found"
    line = {"COMP_LINE": typed, "COMP_POINT": str(len(typed)), "COMP_TYPE": "9"}
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(found)}
    command = [sys.executable, "-m", "service.cli"]
    subprocess.run(command, env={**os.environ, **line, **asked}, cwd=root, check=False, timeout=60)
    assert offered in found.read_text(encoding="utf-8").split()


def test_no_command_writes_colours(root: Path) -> None:
    sources = [*(root / "service").rglob("*.py"), *(root / "pandagpt_core").rglob("*.py")]
    assert not [path for path in sources if "\\033[" in path.read_text(encoding="utf-8")]


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serv"]) == 2
    assert capsys.readouterr().err == "pandagpt: no command 'serv': did you mean `pandagpt serve`?\n"


@pytest.mark.parametrize(
    "words",
    [
        ["serve", "--nothing"],
        ["chat", "--image", "missing.png", "What is this?"],
        ["chat", "--url", "nowhere", "What is this?"],
        ["embed", "@missing.png"],
        ["embed", "@of-no-kind"],
        ["train", "--config", "missing.toml"],
        ["convert", "--out", "made"],
        ["queue", "list"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_mistake_in_a_call_ends_with_status_2(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pandagpt", *words])
    with pytest.raises(SystemExit) as end:
        sys.exit(cli.main())
    assert end.value.code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "--manifest", "none.toml", "--model", "models/panda-mini"],
        ["train", "--config", "none.toml"],
        ["align", "--config", "none.toml"],
        ["inspect", "none.png"],
        ["inspect", "what-kind"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_file_that_is_not_there_is_a_mistake_in_the_call(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("words", [["--version"], ["-V"]])
def test_the_version_is_that_of_the_package(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    assert capsys.readouterr().out == f"pandagpt {metadata.version('pandagpt')}\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError("gateway.port: wrong\nstore.url: wrong"), 2),
        (CheckpointError("config.json is wrong"), 2),
        (InvalidRequest("no"), 2),
        (PandaGPTError("the store went away"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_becomes_a_plain_line_and_a_status(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing:
        def configure(self, parser: argparse.ArgumentParser) -> None: ...

        def run(self, arguments: argparse.Namespace) -> int:
            raise error

    monkeypatch.setitem(sys.modules, "failing", Failing())  # type: ignore[arg-type]  # a fake command
    monkeypatch.setitem(cli.COMMANDS, "fail", ("failing", "fails"))
    assert cli.main(["fail"]) == status
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"pandagpt: {line}" for line in str(error).splitlines()]


def test_a_mistyped_setting_stops_every_process_before_it_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PANDAGPT_GATEWAY_PROT", "1")
    for name in ("serve", "gateway", "worker"):
        assert cli.main([name]) == 2
        assert "did you mean PANDAGPT_GATEWAY_PORT?" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pandagpt do", {"doctor"}),
        ("pandagpt serve --po", {"--port"}),
        ("pandagpt queue list --st", {"--state", "--store"}),
    ],
)
def test_the_shell_completes_commands_and_options(line: str, expected: set[str], tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    environment = {**os.environ, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line}
    environment |= {"COMP_POINT": str(len(line)), "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    subprocess.run([sys.executable, "-m", "service.cli"], env=environment, cwd=ROOT, check=False, timeout=60)
    assert {word.strip() for word in answer.read_text().split("\n")} == expected
