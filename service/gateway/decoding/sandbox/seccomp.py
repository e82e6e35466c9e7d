"""The list of `syscalls` as a filter of the kernel (seccomp(2), classic BPF), installed on every thread.

The filter reads `struct seccomp_data`: number at 0, architecture at 4, six arguments of 8 bytes from 16 on, all little
endian. Every block below ends in a return, so that a call which matches no block reaches the last line: kill.
"""

import ctypes
import platform
import struct
from collections.abc import Mapping, Sequence

from service.gateway.decoding.sandbox import libc
from service.gateway.decoding.sandbox.syscalls import ALLOWED, MACHINES, REFUSED, SECCOMP, Check, number

_SET_MODE_FILTER, _TSYNC = 1, 1
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000  # SECCOMP_RET_ALLOW, _KILL_PROCESS, _ERRNO
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_X32_BIT = 0x40000000  # x86-64's second numbering


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install() -> None:
    """Needs no_new_privs, set before. Raises KeyError on an architecture without a table."""
    libc.require_linux()
    architecture = MACHINES[platform.machine()]
    code = compiled(architecture, ALLOWED, REFUSED)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    libc.syscall(SECCOMP[architecture], _SET_MODE_FILTER, _TSYNC, ctypes.byref(program))


def compiled(architecture: int, allowed: Mapping[str, Sequence[Check]], refused: Mapping[str, int]) -> bytes:
    """The program, 8 bytes an instruction."""
    code = _op(_LOAD, _ARCHITECTURE) + _op(_EQUAL, architecture, 1, 0) + _op(_RETURN, KILL)
    code += _op(_LOAD, _NUMBER) + _op(_AT_LEAST, _X32_BIT, 0, 1) + _op(_RETURN, KILL)
    for name, checks in allowed.items():
        code += _when(number(name, architecture), b"".join(map(_check, checks)) + _op(_RETURN, ALLOW))
    for name, error in refused.items():
        code += _when(number(name, architecture), _op(_RETURN, ERRNO | error))
    return code + _op(_RETURN, KILL)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _when(call: int, block: bytes) -> bytes:
    """The block for this call; any other goes past it, its number still loaded."""
    return _op(_EQUAL, call, 0, len(block) // 8) + block


def _check(check: Check) -> bytes:
    """Go on where the argument has one of the values, else kill."""
    code = _op(_LOAD, _ARGUMENTS + 8 * check.argument + 4 * check.high) + _op(_AND, check.mask)
    count = len(check.values)
    code += b"".join(_op(_EQUAL, value, count - at, 0) for at, value in enumerate(check.values))
    return code + _op(_RETURN, KILL)
