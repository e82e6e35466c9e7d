"""User, capabilities and threads of a child."""

import os
import sys

import pytest

from tests.gateway.decoding.sandbox.processes import ended, restricted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="privileges are Linux's")
STATUS = "dict(line.split(':', 1) for line in open('/proc/self/status'))"


def test_no_exec_gives_a_privilege_any_more() -> None:
    assert restricted("privileges.no_new()", f"{STATUS}['NoNewPrivs'].strip()") == "1"


def test_no_capability_stays_and_none_is_to_be_had() -> None:
    names = ("CapInh", "CapPrm", "CapEff")
    found = restricted("privileges.drop_capabilities()", f"[{STATUS}[name].strip() for name in {names!r}]")
    assert [int(one, 16) for one in found] == [0, 0, 0]


def test_a_child_of_root_becomes_a_user_for_good() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root leaves root")
    ids, back = restricted("privileges.leave_root()", "[os.getresuid(), outcome(lambda: os.setuid(0))]")
    assert len(set(ids)) == 1
    assert 0 not in ids
    assert back == "PermissionError"


def test_threads_are_bounded_only_where_no_other_process_counts() -> None:
    limit = "__import__('resource').getrlimit(__import__('resource').RLIMIT_NPROC)"
    assert restricted("privileges.limit_threads(True)", limit) == [256, 256]
    refused = ended("print(outcome(lambda: privileges.limit_threads(False)))")
    assert refused.stdout == "OSError\n"


def test_a_child_whose_parent_is_gone_ends_at_once() -> None:
    """Between its start and the kernel's promise to kill it with its parent."""
    first, second = "privileges.die_with(os.getppid())", "privileges.die_with(1 << 30)"
    done = ended(f"{first}\nprint('lives', flush=True)\n{second}\nprint('lives on')")
    assert (done.returncode, done.stdout) == (0, "lives\n")
