"""What a decoding child gives up before it sees a caller's bytes. Linux first; elsewhere what the system offers.

memory     RLIMIT_AS: allocations beyond it fail inside the child
descriptors  RLIMIT_NOFILE at the number now open: no file, socket or pipe can be opened any more
files      RLIMIT_FSIZE 0 and RLIMIT_CORE 0: nothing is written, no core dumped
privileges no_new_privs, not dumpable, killed with its parent
syscalls   a seccomp filter over all threads refuses networking, opening and changing files, starting, tracing and
           signalling processes (x86-64 and AArch64)
python     an audit hook refuses the same to Python code, where there is no seccomp

Processor time is a timer a job (`arm`), wall time is the parent's, who kills. `lock_down` returns the names of those
that took hold; the gateway logs them.
"""

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Callable, Sequence

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
_REFUSE, _UNKNOWN = 0x00050000 | 1, 0x00050000 | 38  # SECCOMP_RET_ERRNO with EPERM; with ENOSYS
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CLONE_THREAD = 0x10000

# audit architecture, number of seccomp(2), of clone(2), numbers refused (asm/unistd of each architecture)
_SYSCALLS = {
    "x86_64": (
        0xC000003E,
        317,
        56,
        "2 41 42 43 44 49 50 53 57 58 59 62 76 82 83 84 85 86 87 88 90 92 94 101 165 257 258 260 263 264 265 266 268 "
        "272 288 298 308 310 311 316 319 321 322 323 424 425 434 437 438",
    ),
    "aarch64": (
        0xC00000B7,
        277,
        220,
        "34 35 36 37 38 40 45 53 54 56 97 117 129 198 199 200 201 202 203 206 221 241 242 268 270 271 276 279 280 281 "
        "282 424 425 434 437 438",
    ),
}
_CLONE3 = 435  # the same everywhere
_X32_BIT = 0x40000000  # x86-64's second numbering, refused whole
_FORBIDDEN_EVENTS = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
    "os.kill",
    "ctypes.",
)


def lock_down(memory_bytes: int) -> list[str]:
    """Gives up what decoding does not need, for good. Call once, after all imports. Returns what took hold."""
    held = []
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("memory", lambda: _limit(resource.RLIMIT_AS, memory_bytes)),
        ("files", _write_nothing),
        ("privileges", _drop_privileges),
        ("syscalls", _filter_syscalls),
        ("descriptors", lambda: _limit(resource.RLIMIT_NOFILE, _open_descriptors())),
        ("python", lambda: sys.addaudithook(_refuse_event)),
    )
    for name, step in steps:
        try:
            step()
            held.append(name)
        except (OSError, ValueError, AttributeError, KeyError):
            continue  # not offered here; the caller is told by its absence
    return held


def arm(cpu_s: float) -> None:
    """From now the process dies (SIGPROF) after `cpu_s` seconds of processor time; 0 disarms."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)


def _write_nothing() -> None:
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, value))


def _open_descriptors() -> int:
    """One more than the highest descriptor in use."""
    for number in range(255, -1, -1):
        try:
            os.fstat(number)
        except OSError:
            continue
        return number + 1
    return 0


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _drop_privileges() -> None:
    if sys.platform != "linux":
        raise OSError("Linux only")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _filter_syscalls() -> None:
    """Installs the filter on every thread. Needs no_new_privs, set before."""
    if sys.platform != "linux":
        raise OSError("Linux only")
    architecture, seccomp, clone, refused = _SYSCALLS[platform.machine()]
    code = _compile(architecture, clone, [int(number) for number in refused.split()])
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def _compile(architecture: int, clone: int, refused: Sequence[int]) -> bytes:
    """Classic BPF: right architecture, then refuse when the number is in the list. 8 bytes an instruction.

    clone(2) may start a thread and no process. clone3 hides its flags behind a pointer, so it is said not to exist,
    upon which the C library falls back to clone.
    """

    def op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("<HBBI", code, if_true, if_false, value)

    count = len(refused)
    code = op(_LOAD, 4) + op(_JUMP_EQUAL, architecture, 0, count + 7)
    code += op(_LOAD, 0) + op(_JUMP_AT_LEAST, _X32_BIT, count + 5, 0)
    code += b"".join(op(_JUMP_EQUAL, number, count + 4 - at, 0) for at, number in enumerate(refused))
    code += op(_JUMP_EQUAL, _CLONE3, 5, 0) + op(_JUMP_EQUAL, clone, 0, 2)
    code += op(_LOAD, 16) + op(_JUMP_SET, _CLONE_THREAD, 0, 1)  # the low half of the first argument
    # Jumps above count from themselves to one of the three ends.
    return code + op(_RETURN, _ALLOW) + op(_RETURN, _REFUSE) + op(_RETURN, _UNKNOWN)


def _refuse_event(event: str, _args: tuple[object, ...]) -> None:
    if event.startswith(_FORBIDDEN_EVENTS):
        raise PermissionError("not in a decoding child")
