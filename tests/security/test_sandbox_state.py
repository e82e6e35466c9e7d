"""Threat: a decoding child reports a layer of its sandbox that does not hold.

Measures: the kernel's own view of a live child shows each layer that it reports: user, capabilities, no_new_privs,
seccomp on every thread, namespaces, and memory that no other process of its user can read.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pandagpt_core import media
from service.gateway.decoding import child_process
from tests.security.process_probe import NAMESPACES, own_namespaces, statuses

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
ROOT = Path(__file__).parents[2]
PROBE = [sys.executable, "-m", "tests.security.process_probe"]
USER = 4321
Child = tuple[int, set[str]]  # its process id, and the layers that it reports


@asynccontextmanager
async def real_child() -> AsyncIterator[Child]:
    """As the gateway starts it, by the user who runs the tests."""
    child = await child_process.start(child_process.child_command(1536 << 20, media.Limits()))
    try:
        await child.greet()
        yield child._process.pid, set(child.enforced)
    finally:
        await child.kill()


@asynccontextmanager
async def users_child(user: int) -> AsyncIterator[Child]:
    """A process of `user` behind the same lock: the decoders themselves may lie where `user` cannot read them."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    process = subprocess.Popen(
        [*PROBE, "locked", str(user)], cwd=ROOT, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        try:
            yield process.pid, set(json.loads(await asyncio.to_thread(process.stdout.readline)))
        finally:
            process.kill()


def _environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(params=[None, USER], ids=["the gateway's child", "a user's"])
async def child(request: pytest.FixtureRequest) -> AsyncIterator[Child]:
    async with real_child() if request.param is None else users_child(request.param) as found:
        yield found


@linux
async def test_every_thread_of_a_child_has_no_user_of_ours_no_capability_and_a_filter(child: Child) -> None:
    pid, layers = child
    threads = statuses(pid)
    assert threads
    for status in threads:
        users, groups = set(status["Uid"].split()), set(status["Gid"].split())
        assert len(users) == len(groups) == 1, "real, effective, saved and of files"
        if "user" in layers:
            assert users.isdisjoint({"0"})
            assert groups.isdisjoint({"0"})
        if "capabilities" in layers:
            sets = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
            assert not any(sets.values()), sets
        if "privileges" in layers:
            assert status["NoNewPrivs"] == "1"
        if "syscalls" in layers:
            assert status["Seccomp"] == "2"


@linux
async def test_a_child_shares_no_network_with_its_gateway(child: Child) -> None:
    pid, layers = child
    if "namespaces" not in layers:
        pytest.skip("no namespaces here")
    try:
        found = own_namespaces(pid)
    except PermissionError:
        pytest.skip("only root with the right to trace may look")
    assert found == set(NAMESPACES)


@linux
async def test_no_other_process_of_its_user_reads_a_childs_memory(child: Child) -> None:
    pid, layers = child
    assert "privileges" in layers
    done = subprocess.run([*PROBE, "read", str(pid)], cwd=ROOT, env=_environment(), capture_output=True, check=True)
    assert json.loads(done.stdout) == []
