"""Calls of the C library: their result, or an OSError with the kernel's reason."""

import errno
import os
import platform
import sys

import pytest

from service.gateway.decoding.sandbox import libc
from service.gateway.decoding.sandbox.syscalls import MACHINES, number

linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in MACHINES, reason="numbers of Linux's system calls"
)


@linux
def test_a_system_call_gives_its_result() -> None:
    assert libc.syscall(number("getpid", MACHINES[platform.machine()])) == os.getpid()


@linux
@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: libc.syscall(100_000), errno.ENOSYS),
        (lambda: libc.prctl(100_000, 0), errno.EINVAL),
        (lambda: libc.unmount(b"/no/such/place", 0), None),
        (lambda: libc.mount(b"none", b"/no/such/place", b"tmpfs", 0), None),
    ],
)
def test_a_refusal_is_an_os_error_with_its_reason(call: object, reason: int | None) -> None:
    with pytest.raises(OSError) as refused:  # noqa: PT011  # the kernel's words differ by version
        call()  # type: ignore[operator]
    assert refused.value.errno == reason if reason else refused.value.errno in (errno.ENOENT, errno.EPERM)
