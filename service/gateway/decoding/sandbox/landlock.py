"""Landlock (Linux 5.13 and later): this thread and those it starts reach no file, no TCP port, no foreign process.

A ruleset names what it handles and then allows nothing of it. Each version of the kernel's interface adds bits
(linux/landlock.h); only those that the running kernel knows may be named.
"""

import ctypes
import os

from service.gateway.decoding.sandbox import libc

_CREATE, _RESTRICT_SELF, _ASK_VERSION = 444, 446, 1  # the same numbers on every architecture
_FILES = {1: 13, 2: 14, 3: 15, 5: 16}  # from this version on, so many kinds of access to files
_TCP = {4: 0b11}  # bind, connect
_SCOPES = {6: 0b11}  # abstract Unix sockets, signals


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


def restrict() -> None:
    """Needs no_new_privs, set before. Raises OSError where the kernel has no Landlock."""
    libc.require_linux()
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)
    rules = _Ruleset((1 << _at(_FILES, version)) - 1, _at(_TCP, version), _at(_SCOPES, version))
    size = 8 * (1 + (version >= 4) + (version >= 6))
    ruleset = libc.syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    libc.syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _at(table: dict[int, int], version: int) -> int:
    return next((value for since, value in reversed(table.items()) if version >= since), 0)
