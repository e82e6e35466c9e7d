"""The process that tries candidates at a first start: when there is one, what it is given, and how it may fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import WorkerSettings
from service.worker import trial
from tests.conftest import ROOT

MINI = ROOT / "models" / "panda-mini"
PYTHON = (sys.executable, "-c")


def settings(tmp_path: Path, **given: object) -> WorkerSettings:
    return WorkerSettings.model_validate({"model": MINI, "cache": tmp_path / "cache", **given})


def test_it_pays_where_something_is_to_be_chosen_for_a_large_model_on_a_cpu(tmp_path: Path) -> None:
    assert trial.pays(settings(tmp_path), "cpu")
    assert not trial.pays(settings(tmp_path), "cuda")
    named = ({"cache": None}, {"dtype": "int8"}, {"runner": "torch"}, {"engine": "vllm"})
    assert not any(trial.pays(settings(tmp_path, **one), "cpu") for one in named)


def test_a_small_model_is_tried_in_the_worker(tmp_path: Path) -> None:
    assert not trial.pays(settings(tmp_path), "cpu", least=1 << 40)


def test_it_is_given_the_settings_and_an_open_pipe(tmp_path: Path) -> None:
    """The process keeps what it reads, and would see the pipe's end only with this one's."""
    kept = tmp_path / "kept"
    code = f"import sys; open({str(kept)!r}, 'w').write(sys.stdin.readline())"
    given = settings(tmp_path, threads=3)
    assert trial.run(given, (*PYTHON, code))
    assert WorkerSettings.model_validate(json.loads(kept.read_text())) == given


@pytest.mark.parametrize("code", ["import sys; sys.exit(3)", "import os; os.kill(os.getpid(), 11)"])
def test_where_it_fails_the_worker_tries_itself(tmp_path: Path, code: str, caplog: pytest.LogCaptureFixture) -> None:
    assert not trial.run(settings(tmp_path), (*PYTHON, code))
    assert "they are tried in this one" in caplog.text


def test_one_that_hangs_is_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not trial.run(settings(tmp_path), (*PYTHON, "import time; time.sleep(600)"), limit_s=0.2)
    assert "TimeoutExpired" in caplog.text


def test_it_ends_with_the_worker(tmp_path: Path) -> None:
    code = """
import sys, time
from service.worker import first_start
first_start.load = lambda settings, apart: time.sleep(600)
first_start.main(sys.stdin)
"""
    with subprocess.Popen([*PYTHON, code], stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(settings(tmp_path).model_dump_json() + "\n")
        process.stdin.close()
        assert process.wait(120) == 1
