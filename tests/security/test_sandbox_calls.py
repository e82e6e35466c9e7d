"""Threat: native code in a decoding child, taken over by hostile bytes, uses the kernel.

Measures: seccomp by an allow-list with checks of arguments, everything else kills; an unprivileged user, no
capability, no_new_privs; Landlock; namespaces of its own. The probe makes more than a hundred calls by number.
"""

import functools
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.security import syscall_probe

x86 = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the probe's numbers are x86-64's on Linux"
)
USERS = {"as root": 0, "as a user": 4321}


@functools.cache
def ends(user: int, folder: Path) -> dict[str, str]:
    """The end of each call. The user's probe starts as root, for it imports from where a user may not read."""
    if user != os.geteuid() and os.geteuid() != 0:
        pytest.skip("only root can be both")
    command = [sys.executable, "-m", "tests.security.syscall_probe", str(user)]
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is not None:
        library = folder / "probe32.so"
        source = Path(__file__).with_name("probe32.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
        command.append(str(library))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probe")


@x86
@pytest.mark.parametrize("user", USERS.values(), ids=list(USERS))
def test_every_call_outside_the_list_kills_the_child(user: int, folder: Path) -> None:
    assert len(syscall_probe.FORBIDDEN) > 100
    found = ends(user, folder)
    assert {name: found[name] for name in syscall_probe.FORBIDDEN} == dict.fromkeys(syscall_probe.FORBIDDEN, "killed")


@x86
@pytest.mark.parametrize("user", USERS.values(), ids=list(USERS))
def test_the_old_numbering_kills_the_child(user: int, folder: Path) -> None:
    found = ends(user, folder)
    if "int 0x80" not in found:
        pytest.skip("no C compiler here")
    assert found["int 0x80"] == "killed"


@x86
@pytest.mark.parametrize("user", USERS.values(), ids=list(USERS))
def test_opening_is_refused_and_decoding_may_go_on(user: int, folder: Path) -> None:
    found = ends(user, folder)
    assert {found[name] for name in syscall_probe.REFUSED} == {"refused"}
    assert {found[name] for name in syscall_probe.ALLOWED} == {"done"}
