"""Namespaces of a child's own: a network without an interface, and at last a root directory without a file.

They are entered before the decoders are imported, for a process with threads may not enter a user namespace; the root
is emptied after, for imports need files.
"""

import contextlib
import os
import platform

from service.gateway.decoding.sandbox import libc

_MOUNTS, _HOST_NAME, _IPC, _USER, _NETWORK = 0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x40000000  # CLONE_NEW*
_OURS = _MOUNTS | _HOST_NAME | _IPC | _NETWORK
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_EXEC, _RECURSIVE, _PRIVATE = 1, 2, 4, 8, 0x4000, 0x40000  # MS_*
_DETACH = 2  # MNT_DETACH
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_PLACES = (b"/tmp", b"/usr", b"/")  # mount point of the empty file system, in this process's view only


def enter() -> None:
    """As root directly; else inside a user namespace, where the system lets users make them. Raises OSError."""
    if os.geteuid() == 0:
        libc.unshare(_OURS)
    else:
        user, group = os.geteuid(), os.getegid()
        libc.unshare(_OURS | _USER)
        _keep_identity(user, group)
    libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE)


def _keep_identity(user: int, group: int) -> None:
    """The same user inside as outside. Files can be read without it, so a refusal changes nothing."""
    maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
    for name, text in maps.items():
        with contextlib.suppress(OSError), open(f"/proc/self/{name}", "wb", buffering=0) as file:
            file.write(text.encode())


def empty_root() -> None:
    """Swap the root for an empty, read-only file system. Mapped and open files stay. Raises OSError.

    Only after `enter`: in the gateway's own mount namespace it would take the gateway's files away.
    """
    place = next(place for place in _PLACES if os.path.isdir(place))
    flags = _READ_ONLY | _NO_SETUID | _NO_DEVICES | _NO_EXEC
    libc.mount(b"none", place, b"tmpfs", flags, b"size=4k,mode=0555")
    os.chdir(place)
    libc.syscall(_PIVOT_ROOT[platform.machine()], b".", b".")
    libc.unmount(b".", _DETACH)
    os.chdir("/")
