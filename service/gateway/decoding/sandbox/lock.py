"""The layers in their order. `enter` comes before the decoders are imported, `lock_down` after."""

import os
import signal
from collections.abc import Callable

from service.gateway.decoding.sandbox import interpreter, landlock, limits, namespaces, privileges, seccomp

LAYERS = (
    "namespaces",
    "memory",
    "files",
    "privileges",
    "root",
    "landlock",
    "user",
    "capabilities",
    "parent",
    "threads",
    "descriptors",
    "syscalls",
    "python",
)
_ABSENT = (OSError, ValueError, AttributeError, KeyError, StopIteration)  # raised where a layer is not offered


def enter(absent: dict[str, str]) -> list[str]:
    """Call first, while the process has one thread. Returns the layers that took hold; the reason of each other one
    goes into `absent`."""
    return _held([("namespaces", namespaces.enter)], absent)


def lock_down(memory_bytes: int, entered: list[str] | None = None, absent: dict[str, str] | None = None) -> list[str]:
    """Give up what decoding does not need, for good. Call once, after all imports. Returns what took hold, as
    `enter`."""
    absent = {} if absent is None else absent
    entered, parent, was_root = entered or [], os.getppid(), os.geteuid() == 0
    steps: list[tuple[str, Callable[[], None]]] = [
        ("memory", lambda: limits.memory(memory_bytes)),
        ("files", limits.write_nothing),
        ("privileges", privileges.no_new),
        ("root", namespaces.empty_root),
        ("landlock", landlock.restrict),
        ("user", privileges.leave_root),
        ("capabilities", privileges.drop_capabilities),
        ("parent", lambda: privileges.die_with(parent)),
        ("threads", lambda: privileges.limit_threads(os.geteuid() != 0 and (was_root or "namespaces" in entered))),
        ("descriptors", limits.open_nothing),
        ("syscalls", seccomp.install),
        ("python", interpreter.refuse_the_system),
    ]
    if "namespaces" not in entered:
        steps = [step for step in steps if step[0] != "root"]
        absent["root"] = "needs a mount namespace of its own"
    return list(dict.fromkeys([*entered, *_held(steps, absent)]))


def _held(steps: list[tuple[str, Callable[[], None]]], absent: dict[str, str]) -> list[str]:
    held = []
    for name, step in steps:
        try:
            step()
        except _ABSENT as error:  # not offered here
            absent[name] = f"{type(error).__name__}: {error}"
            continue
        held.append(name)
    return held


def arm(cpu_s: float) -> None:
    """From now the process dies (SIGPROF) after `cpu_s` seconds of processor time; 0 disarms."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
