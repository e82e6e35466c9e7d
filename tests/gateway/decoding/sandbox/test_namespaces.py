"""Namespaces of a child's own: no network but loopback, and at last a root directory without a file."""

import os
import sys

import pytest

from tests.gateway.decoding.sandbox.processes import restricted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")


@pytest.mark.parametrize("kind", ["net", "mnt", "ipc", "uts"])
def test_a_child_has_a_namespace_of_its_own(kind: str) -> None:
    ours = os.readlink(f"/proc/self/ns/{kind}")
    assert restricted("namespaces.enter()", f"os.readlink('/proc/self/ns/{kind}')") not in (ours, "")


def test_the_network_has_no_interface_but_loopback() -> None:
    names = restricted("import socket; namespaces.enter()", "[name for _, name in socket.if_nameindex()]")
    assert set(names) <= {"lo"}


def test_the_empty_root_holds_no_file_and_takes_none() -> None:
    tries = "[os.listdir('/'), outcome(lambda: open('/tmp/x', 'w')), outcome(lambda: open('/x', 'w'))]"
    assert restricted("namespaces.enter(); namespaces.empty_root()", tries) == [[], "FileNotFoundError", "OSError"]


def test_the_user_of_a_child_is_the_one_who_made_it() -> None:
    assert restricted("namespaces.enter()", "os.geteuid()") == os.geteuid()
