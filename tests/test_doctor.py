"""`pandagpt doctor`: each thing that can stand in the way is found, named, and comes with what to do."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service import cli
from service.commands.operate import checks, doctor
from service.commands.operate.checks import Finding
from service.settings import Settings
from tests.conftest import ROOT, Valkey


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and the findings by check: the gravest of each."""
    status = cli.main(["doctor", "--json", *words])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    order = ["ok", "warn", "fail"]
    return status, {one["check"]: one for one in sorted(lines, key=lambda one: order.index(one["level"]))}


def test_torch_s_threads_wait_as_in_a_worker() -> None:
    command = [sys.executable, "-m", "service.cli", "doctor", "--only", "torch", "--json"]
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    env |= {"PANDAGPT_WORKER_THREADS": "1", "OMP_NUM_THREADS": "2", "OMP_DISPLAY_ENV": "verbose"}
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True, text=True)
    assert "GOMP_SPINCOUNT = '0'" in ran.stderr  # the runtime's findings at its load
    assert "cpu, 1 threads" in ran.stdout or "CUDA is there" in ran.stdout


def test_a_sound_machine_has_nothing_in_the_way(capsys: pytest.CaptureFixture[str], valkey: Valkey) -> None:
    words = ["--only", "python", "--only", "torch", "--only", "media", "--only", "store", "--store", valkey.url]
    status, found = told(capsys, *words, "--device", "cpu")
    assert (status, {one["level"] for one in found.values()}) == (0, {"ok"})
    assert set(found) == {"settings", "python", "torch", "device", "media", "store"}
    assert "Valkey" in found["store"]["what"]


def test_for_a_person_it_ends_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--only", "python"]) == 0
    assert capsys.readouterr().out.endswith("\nNothing stands in the way.\n")
    assert cli.main(["doctor", "--only", "model"]) == 1
    output = capsys.readouterr().out
    assert "→ name a folder with --model" in output
    assert output.endswith("1 of 2 failed\n")


def test_a_wrong_setting_is_told_with_the_nearest_right_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANDAGPT_GATEWAY_PROT", "1")
    status, found = told(capsys)
    assert status == 1
    assert "did you mean PANDAGPT_GATEWAY_PORT?" in found["settings"]["what"]


def test_a_device_that_torch_cannot_use(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = told(capsys, "--only", "torch", "--device", "cuda:99")
    assert (status, found["device"]["level"]) == (1, "fail")
    assert "PANDAGPT_WORKER_DEVICE" in found["device"]["todo"]


def test_a_store_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = told(capsys, "--only", "store", "--store", "redis://127.0.0.1:9/0")
    assert (status, found["store"]["level"]) == (1, "fail")
    assert "PANDAGPT_STORE_URL" in found["store"]["todo"]


def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = told(capsys, "--only", "store", "--store", "http://127.0.0.1")
    assert (status, found["store"]["what"]) == (1, "store.url is no address of a store")


def test_a_store_that_evicts_is_worth_a_look(capsys: pytest.CaptureFixture[str], valkey: Valkey) -> None:
    valkey.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        status, found = told(capsys, "--only", "store", "--store", valkey.url)
    finally:
        valkey.client.config_set("maxmemory-policy", "noeviction")
    assert (status, found["store"]["level"]) == (0, "warn")
    assert "allkeys-lru" in found["store"]["what"]


def test_no_store_set_means_the_embedded_one(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = told(capsys, "--only", "store")
    assert status == 0
    assert "Valkey of its own" in found["store"]["what"]


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str], taken: int) -> None:
    status, found = told(capsys, "--only", "gateway", "--port", str(taken))
    assert (status, str(taken) in found["port"]["what"]) == (1, True)


def test_a_port_of_metrics_that_is_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    monkeypatch.setenv("PANDAGPT_GATEWAY_ADMIN_PORT", str(taken))
    status, found = told(capsys, "--only", "gateway", "--port", "0")
    assert (status, found["port"]["level"], found["metrics"]["level"]) == (1, "ok", "fail")
    assert str(taken) in found["metrics"]["what"]
    assert "PANDAGPT_GATEWAY_ADMIN_PORT" in found["metrics"]["todo"]


def test_a_keys_file_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("ann nonsense\n")
    monkeypatch.setenv("PANDAGPT_GATEWAY_KEYS_FILE", str(tmp_path / "keys"))
    status, found = told(capsys, "--only", "gateway", "--port", "0")
    assert (status, "line 1" in found["keys"]["what"]) == (1, True)


def test_a_folder_that_is_no_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, found = told(capsys, "--only", "model", "--model", str(tmp_path))
    assert (status, "config.json" in found["model"]["what"]) == (1, True)


def test_a_model_folder_with_a_changed_file_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, root: Path
) -> None:
    original = root / "models/panda-mini"
    if not (original / "config.json").is_file():
        pytest.skip("models/panda-mini is not in this checkout")
    for file in original.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes() + (b"x" if file.name == "adapter.safetensors" else b""))
    status, found = told(capsys, "--only", "model", "--model", str(tmp_path))
    assert (status, "adapter.safetensors" in found["model"]["what"]) == (1, True)


@pytest.mark.parametrize(("dtype", "level"), [("float32", "ok"), ("float8", "fail")])
def test_what_a_worker_would_choose_is_printed_with_its_figures(
    capsys: pytest.CaptureFixture[str], root: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, level: str
) -> None:
    folder = root.parent / "shared/golden/pandagpt-tiny/model"
    if not (folder / "config.json").is_file():
        folder = root / "models/panda-mini"
    monkeypatch.setenv("PANDAGPT_WORKER_DTYPE", dtype)
    monkeypatch.setenv("PANDAGPT_WORKER_RUNNER", "torch")
    _, found = told(capsys, "--only", "speed", "--model", str(folder), "--device", "cpu")
    assert found["speed"]["level"] == level, found
    assert ("language model: torch fp32" if level == "ok" else "float8") in found["speed"]["what"]


def test_where_memory_does_not_suffice_nothing_is_measured(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    with (tmp_path / "weights").open("wb") as file:
        file.truncate(1 << 42)  # sparse: 4 TiB that are not there
    (finding,) = checks.speed(Settings(worker={"model": tmp_path}))
    assert (finding.level, finding.what.split(":")[0]) == ("warn", "not measured")


def test_more_weights_than_memory_is_worth_a_look(tmp_path: Path) -> None:
    huge = tmp_path / "weights"
    with huge.open("wb") as file:
        file.truncate(1 << 42)  # sparse: 4 TiB that are not there
    (finding,) = checks.memory(Settings(worker={"model": tmp_path}))
    assert (finding.level, "smaller model" in finding.todo) == ("warn", True)


def test_every_check_is_in_the_table() -> None:
    assert set(doctor.CHECKS) == {"python", "torch", "media", "model", "memory", "speed", "store", "gateway"}


def test_a_finding_is_printed_before_the_next_one_is_looked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measurement takes a minute, in which the rest must be there to read."""

    def measured(_settings: Settings) -> Iterator[Finding]:
        printed.append(capsys.readouterr().out)
        yield Finding("speed", "ok", "fast")

    printed: list[str] = []
    monkeypatch.setitem(doctor.CHECKS, "speed", measured)
    assert cli.main(["doctor", "--only", "python", "--only", "speed"]) == 0
    assert "Python 3" in printed[0]
