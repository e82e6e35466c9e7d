"""Linux calls that Python does not offer, by ctypes. Each raises OSError where the kernel refuses."""

import ctypes
import os
import sys

_libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38


def require_linux() -> None:
    if sys.platform != "linux":
        raise OSError("Linux only")


def checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def syscall(number: int, *arguments: object) -> int:
    return checked(_libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}")


def prctl(option: int, value: int) -> None:
    checked(
        _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)), "prctl"
    )


def unshare(flags: int) -> None:
    require_linux()
    checked(_libc.unshare(flags), "unshare")


def mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    checked(_libc.mount(source, target, kind, ctypes.c_ulong(flags), data), "mount")


def unmount(target: bytes, flags: int) -> None:
    checked(_libc.umount2(target, flags), "umount2")


def malloc_trim() -> None:
    """Give memory that the allocator holds unused back to the system. Nothing where the C library is not glibc."""
    if (trim := getattr(_libc, "malloc_trim", None)) is not None:
        trim(ctypes.c_size_t(0))
