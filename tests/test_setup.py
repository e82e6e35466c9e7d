"""The set-up says plainly what is missing, and the lock covers what the project asks for."""

import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """The files that the set-up reads, without any environment."""
    shutil.copytree(root / "requirements", tmp_path / "requirements")
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


def python(folder: Path, script: str) -> str:
    """A stand-in interpreter."""
    path = folder / "python-stand-in"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def set_up(checkout: Path, python: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "requirements/install", "serve"],
        env=os.environ | {"PYTHON": python},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("script", ["exit 1", None])
def test_a_python_that_is_too_old_or_absent_is_named(script: str | None, checkout: Path) -> None:
    given = python(checkout, script) if script else str(checkout / "nowhere")
    done = set_up(checkout, given)
    assert done.returncode == 1
    assert f"setup: needs Python 3.11 or newer; found {given}" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_without_venv_says_which_package_brings_it(checkout: Path) -> None:
    done = set_up(checkout, python(checkout, 'case "$2" in *ensurepip*) exit 1;; esac'))
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr


def locked(root: Path) -> set[str]:
    lines = (root / "requirements/lock.txt").read_text(encoding="utf-8").splitlines()
    return {match[0].lower() for line in lines if (match := re.match(r"[A-Za-z0-9._-]+", line))}


def test_the_lock_names_every_direct_dependency(root: Path) -> None:
    """Of all that `dev` brings. An extra beside it (vllm) holds its own version."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras, asked, names = project["optional-dependencies"], [*project["dependencies"], "pandagpt[dev]"], set()
    while asked:
        name, _, wanted = asked.pop().partition("[")
        if name == "pandagpt":
            asked += [one for extra in wanted.rstrip("]").split(",") for one in extras[extra]]
        else:
            names.add(re.split(r"[<>=!~; ]", name)[0].lower())
    assert {"torch", "fastapi", "accelerate", "pytest"} <= names
    assert not names - locked(root), "the lock is stale: make lock"


def test_the_lock_names_no_host_and_leaves_torch_its_builds(root: Path) -> None:
    text = (root / "requirements/lock.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "torch>=2.13,<2.14\n" in text
    assert not [name for name in locked(root) if name.startswith(("nvidia", "cuda", "triton"))]
