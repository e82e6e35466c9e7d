"""Limits of Python code: no module from a file, and nothing of the operating system.

The kernel kills for most of it. Here Python code gets an exception instead, which costs one medium and not the child.
Where there is no seccomp this is all that holds Python code; native code it never holds.
"""

import importlib.machinery
import sys

_SYSTEM = ("os.", "socket.", "subprocess.", "shutil.", "tempfile.", "pty.", "fcntl.", "mmap.")
_FORBIDDEN_EVENTS = ("open", "ctypes.", *_SYSTEM)


def refuse_the_system() -> None:
    sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter]
    sys.addaudithook(_refuse_event)


def _refuse_event(event: str, _args: tuple[object, ...]) -> None:
    if event.startswith(_FORBIDDEN_EVENTS):
        raise PermissionError("not in a decoding child")
