"""The filter, run as the kernel runs it: on either architecture only the listed calls pass."""

import struct
from collections.abc import Sequence

import pytest

from service.gateway.decoding.sandbox.seccomp import ALLOW, ERRNO, KILL, compiled
from service.gateway.decoding.sandbox.syscalls import AARCH64, ALLOWED, EACCES, ENOSYS, REFUSED, X86_64, number

LOAD, AND, EQUAL, AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
X32_BIT = 0x40000000
PRIVATE_ANONYMOUS, EXECUTE = 0x22, 0x4


def verdict(program: bytes, architecture: int, call: int, arguments: Sequence[int] = ()) -> int:
    """The program's result for `struct seccomp_data`; classic BPF as linux/filter.h has it."""
    data = struct.pack("<iIQ6Q", call, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    held = at = 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("<HBBI", program, 8 * at)
        at += 1
        if code == LOAD:
            (held,) = struct.unpack_from("<I", data, value)
        elif code == AND:
            held &= value
        elif code in (EQUAL, AT_LEAST):
            at += if_true if (held == value if code == EQUAL else held >= value) else if_false
        else:
            assert code == RETURN
            return int(value)


@pytest.fixture(params=[X86_64, AARCH64], ids=["x86-64", "AArch64"])
def architecture(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def of_name(name: str, architecture: int, *arguments: int) -> int:
    return verdict(compiled(architecture, ALLOWED, REFUSED), architecture, number(name, architecture), arguments)


def test_a_call_without_checks_passes(architecture: int) -> None:
    for name in (name for name, checks in ALLOWED.items() if not checks):
        assert of_name(name, architecture) == ALLOW, name


def test_every_other_number_kills(architecture: int) -> None:
    program = compiled(architecture, ALLOWED, REFUSED)
    listed = {number(name, architecture) for name in (*ALLOWED, *REFUSED)}
    others = [call for call in range(600) if call not in listed]
    assert len(others) > 500
    assert {verdict(program, architecture, call) for call in others} == {KILL}


def test_another_architectures_numbering_kills(architecture: int) -> None:
    program, other = compiled(architecture, ALLOWED, REFUSED), AARCH64 if architecture == X86_64 else X86_64
    assert verdict(program, other, number("read", architecture)) == KILL
    assert verdict(program, architecture, number("read", architecture) | X32_BIT) == KILL


def test_a_refused_call_gets_its_error(architecture: int) -> None:
    assert of_name("clone3", architecture) == ERRNO | ENOSYS
    assert of_name("openat", architecture) == ERRNO | EACCES


def test_memory_is_anonymous_and_never_executed(architecture: int) -> None:
    assert of_name("mmap", architecture, 0, 4096, 3, PRIVATE_ANONYMOUS) == ALLOW
    assert of_name("mmap", architecture, 0, 4096, 3 | EXECUTE, PRIVATE_ANONYMOUS) == KILL
    assert of_name("mmap", architecture, 0, 4096, 3, 2) == KILL, "a file's"
    assert of_name("mprotect", architecture, 0, 4096, EXECUTE) == KILL


def test_only_a_thread_of_this_process_is_made(architecture: int) -> None:
    thread = 0x3D0F00
    assert of_name("clone", architecture, thread) == ALLOW
    assert of_name("clone", architecture, 17) == KILL, "a process, by SIGCHLD"
    assert of_name("clone", architecture, thread | 1 << 32) == KILL, "a flag among the high bits"


def test_limits_are_read_and_not_set(architecture: int) -> None:
    assert of_name("prlimit64", architecture, 0, 9, 0) == ALLOW
    assert of_name("prlimit64", architecture, 1, 9, 0) == KILL, "of another process"
    for address in (4096, 1 << 40):
        assert of_name("prlimit64", architecture, 0, 9, address) == KILL
