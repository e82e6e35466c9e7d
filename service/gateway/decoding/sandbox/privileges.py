"""The process's user, capabilities and threads."""

import ctypes
import os
import platform
import resource
import signal

from service.gateway.decoding.sandbox import libc

_CAPGET, _CAPSET = {"x86_64": 125, "aarch64": 90}, {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_KILL, _CAP_SETGID, _CAP_SETUID = 5, 6, 7
_FIRST_USER, _USERS = 61_184, 4_336  # systemd's range for users that are made and dropped (DynamicUser)
_NOBODY = 65_534
_THREADS = 256  # decoders start at most one for each processor


def no_new() -> None:
    """No privilege by any exec any more; not dumpable, so not traceable by its own user."""
    libc.require_linux()
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    libc.prctl(libc.PR_SET_DUMPABLE, 0)


def die_with(parent: int) -> None:
    """Killed when the parent ends. A change of user clears both of these, so they come after it."""
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)


def leave_root() -> None:
    """An unprivileged user of this process's own. Raises OSError where root may not change its user.

    A gateway without the right to signal other users must stay able to kill this child: then the user is kept.
    """
    if os.geteuid() != 0:
        return
    if not all(_capable(right) for right in (_CAP_KILL, _CAP_SETGID, _CAP_SETUID)):
        raise OSError("root without the rights to change users and to signal them")
    os.setgroups([])
    for user in (_FIRST_USER + os.getpid() % _USERS, _NOBODY):
        try:
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        except OSError:  # not mapped in this container
            continue
        return
    raise OSError("no unprivileged user is mapped here")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


def _capable(right: int) -> bool:
    header, sets = _CapabilityHeader(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    libc.syscall(_CAPGET[platform.machine()], ctypes.byref(header), ctypes.byref(sets))
    return bool(sets[0] >> right & 1)  # effective, rights 0 to 31


def drop_capabilities() -> None:
    """None, neither effective nor to be had. A change from root has dropped them on every thread already."""
    libc.require_linux()
    header, nothing = _CapabilityHeader(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    libc.syscall(_CAPSET[platform.machine()], ctypes.byref(header), ctypes.byref(nothing))


def limit_threads(own_user: bool) -> None:
    """Limit the threads. Raises OSError without a user (namespace) of its own, where the kernel counts others too."""
    if not own_user:
        raise OSError("other processes of this user would count")
    resource.setrlimit(resource.RLIMIT_NPROC, (_THREADS, _THREADS))
