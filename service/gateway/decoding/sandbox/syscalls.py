"""The system calls of a decoding child, as measured with strace over every medium of the tests.

A call is allowed when each check on its arguments holds. Numbers: asm/unistd_64.h (x86-64) and asm-generic/unistd.h
(AArch64). Calls that only ask for the time or for memory are here beyond the measured ones, because a C library's use
of them depends on its version; none of them reaches a file, a socket or another process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EACCES, ENOSYS = 13, 38


@dataclass(frozen=True, slots=True)
class Check:
    """One argument's low 32 bits (or its high ones), masked, are one of `values`."""

    argument: int
    values: Sequence[int]
    mask: int = 0xFFFFFFFF
    high: bool = False


def none_of(argument: int, allowed_bits: int) -> Check:
    """No bit but the allowed ones."""
    return Check(argument, (0,), 0xFFFFFFFF & ~allowed_bits)


_READ_WRITE = 0x1 | 0x2  # of PROT_*: memory that is written is never executed
_ANONYMOUS = 0x20  # of MAP_*
_OWN_MEMORY = 0x2 | 0x10 | _ANONYMOUS | 0x4000 | 0x20000  # private, fixed, anonymous, no reserve, stack
# CLONE_VM, _FS, _FILES, _SIGHAND, _THREAD, _SYSVSEM, _SETTLS, _PARENT_SETTID, _CHILD_CLEARTID: a thread of this process
_THREAD, _DETACHED = 0x3D0F00, 0x400000  # musl adds the second, which means nothing
_WAIT, _WAKE, _REQUEUE, _WAIT_BITSET, _WAKE_BITSET = 0, 1, 3, 9, 10  # of FUTEX_*
_FUTEX_OPTIONS = 0x80 | 0x100  # private, real time
_ADVICE = (4, 8, 14, 15)  # MADV_DONTNEED, _FREE, _HUGEPAGE, _NOHUGEPAGE
_ITIMER_PROF, _SIGINT, _PR_SET_NAME = 2, 2, 15
_THREADS_OWN = (32, 33)  # signals that the C library handles itself from its first thread on
_SELF = (Check(0, (0,)),)

ALLOWED: Mapping[str, Sequence[Check]] = {
    "read": (),
    "write": (),
    "futex": (Check(1, (_WAIT, _WAKE, _REQUEUE, _WAIT_BITSET, _WAKE_BITSET), 0xFFFFFFFF & ~_FUTEX_OPTIONS),),
    "madvise": (Check(2, _ADVICE),),
    "brk": (),
    "mmap": (none_of(2, _READ_WRITE), none_of(3, _OWN_MEMORY), Check(3, (_ANONYMOUS,), _ANONYMOUS)),
    "munmap": (),
    "mremap": (),
    "mprotect": (none_of(2, _READ_WRITE),),
    "setitimer": (Check(0, (_ITIMER_PROF,)),),
    "clone": (Check(0, (_THREAD,), 0xFFFFFFFF & ~_DETACHED), Check(0, (0,), high=True)),
    "rseq": (),
    "set_robust_list": (),
    "rt_sigprocmask": (),
    "rt_sigreturn": (),
    "rt_sigaction": (Check(0, (_SIGINT, *_THREADS_OWN)),),  # Python restores the first when it ends
    "sigaltstack": (),
    "sched_getaffinity": (),
    "sched_yield": (),
    "prctl": (Check(0, (_PR_SET_NAME,)),),
    # Limits may be read and not set: the third argument, the new limit, is no address.
    "prlimit64": (*_SELF, Check(2, (0,)), Check(2, (0,), high=True)),
    "clock_gettime": (),
    "clock_getres": (),
    "clock_nanosleep": (),
    "nanosleep": (),
    "gettimeofday": (),
    "restart_syscall": (),
    "getrandom": (),
    "getcwd": (),  # HDF5 calls it for every file, also for one in memory
    "getpid": (),
    "gettid": (),
    "sysinfo": (),
    "lseek": (),
    "close": (),
    "exit": (),
    "exit_group": (),
}

# Answered with an error instead of the process's end.
REFUSED: Mapping[str, int] = {
    "clone3": ENOSYS,  # its flags lie behind a pointer, so they cannot be checked; the C library falls back to clone
    "openat": EACCES,  # libsndfile looks for resource forks of every sound whose head it does not know
}

X86_64, AARCH64 = 0xC000003E, 0xC00000B7  # AUDIT_ARCH_*
SECCOMP: Mapping[int, int] = {X86_64: 317, AARCH64: 277}
MACHINES: Mapping[str, int] = {"x86_64": X86_64, "aarch64": AARCH64}

# name: x86-64, AArch64
NUMBERS: Mapping[str, tuple[int, int]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "setitimer": (38, 103),
    "getpid": (39, 172),
    "clone": (56, 220),
    "exit": (60, 93),
    "getcwd": (79, 17),
    "gettimeofday": (96, 169),
    "sysinfo": (99, 179),
    "sigaltstack": (131, 132),
    "prctl": (157, 167),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "openat": (257, 56),
    "set_robust_list": (273, 99),
    "prlimit64": (302, 261),
    "getrandom": (318, 278),
    "rseq": (334, 293),
    "clone3": (435, 435),
}


def number(name: str, architecture: int) -> int:
    return NUMBERS[name][0 if architecture == X86_64 else 1]
