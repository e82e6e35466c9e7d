"""Landlock: no file and no TCP port, and rights only of the kernel's own version of the interface."""

import sys

import pytest

from service.gateway.decoding.sandbox import landlock
from tests.gateway.decoding.sandbox.processes import restricted

linux = pytest.mark.skipif(sys.platform != "linux", reason="Landlock is Linux's")


@linux
@pytest.mark.parametrize(
    "call", ["open('/etc/passwd')", "os.listdir('/')", "os.mkdir('/tmp/a-folder-that-landlock-forbids')"]
)
def test_no_file_is_reached(call: str) -> None:
    step = "privileges.no_new(); landlock.restrict()"
    assert restricted(step, f"outcome(lambda: {call})") == "PermissionError"


@pytest.mark.parametrize(
    ("version", "files", "tcp", "scopes"), [(1, 13, 0, 0), (2, 14, 0, 0), (4, 15, 3, 0), (5, 16, 3, 0), (9, 16, 3, 3)]
)
def test_only_rights_that_the_kernel_knows_are_named(version: int, files: int, tcp: int, scopes: int) -> None:
    tables = (landlock._FILES, landlock._TCP, landlock._SCOPES)
    assert [landlock._at(table, version) for table in tables] == [files, tcp, scopes]
