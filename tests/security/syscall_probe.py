"""Tries system calls inside the decoding sandbox, one forked process each, and prints their ends as JSON.

    python -m tests.security.syscall_probe USER [LIBRARY]

USER is the user id that the probe runs as before it locks itself (0: root). LIBRARY is `probe32.c` compiled: the old
32-bit door to the kernel, which only machine code can knock at.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable

from service.gateway.decoding import sandbox

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
PATH, BUFFER = b"/", ctypes.create_string_buffer(4096)
HERE = ctypes.addressof(BUFFER)
AT_FDCWD, SIGTERM = -100, 15
ME, PARENT = os.getpid(), os.getpid()

# Calls that must end the process, in x86-64's numbers. Most of these succeed for root in a process that is not locked.
FORBIDDEN: dict[str, tuple[object, ...]] = {
    "open": (2, PATH, 0),
    "creat": (85, b"/tmp/probe", 0o600),
    "openat2": (437, AT_FDCWD, PATH, HERE, 24),
    "open_by_handle_at": (304, AT_FDCWD, HERE, 0),
    "name_to_handle_at": (303, AT_FDCWD, PATH, HERE, HERE, 0),
    "stat": (4, PATH, HERE),
    "newfstatat": (262, AT_FDCWD, PATH, HERE, 0),
    "statx": (332, AT_FDCWD, PATH, 0, 0, HERE),
    "access": (21, PATH, 0),
    "readlink": (89, b"/proc/self/exe", HERE, 100),
    "getdents64": (217, 0, HERE, 4096),
    "truncate": (76, b"/tmp/probe", 0),
    "ftruncate": (77, 0, 0),
    "unlink": (87, b"/tmp/probe"),
    "unlinkat": (263, AT_FDCWD, b"/tmp/probe", 0),
    "rename": (82, b"/tmp/probe", b"/tmp/probe2"),
    "mkdir": (83, b"/tmp/probe", 0o700),
    "link": (86, b"/tmp/probe", b"/tmp/probe2"),
    "symlink": (88, b"/tmp/probe", b"/tmp/probe2"),
    "chmod": (90, b"/tmp/probe", 0o777),
    "chown": (92, b"/tmp/probe", 0, 0),
    "setxattr": (188, PATH, b"user.x", HERE, 1, 0),
    "chdir": (80, PATH),
    "chroot": (161, PATH),
    "mount": (165, b"none", b"/", b"tmpfs", 0, None),
    "umount2": (166, PATH, 2),
    "pivot_root": (155, b".", b"."),
    "open_tree": (428, AT_FDCWD, PATH, 1),
    "move_mount": (429, AT_FDCWD, PATH, AT_FDCWD, PATH, 0),
    "fsopen": (430, b"tmpfs", 0),
    "unshare": (272, 0x10000000),
    "setns": (308, 0, 0),
    "socket": (41, 2, 1, 0),
    "unix socket": (41, 1, 1, 0),
    "netlink socket": (41, 16, 3, 0),
    "socketpair": (53, 1, 1, 0, HERE),
    "connect": (42, 0, HERE, 16),
    "bind": (49, 0, HERE, 16),
    "sendto": (44, 0, HERE, 1, 0, None, 0),
    "sendmsg": (46, 0, HERE, 0),
    "recvmsg": (47, 0, HERE, 0),
    "pipe2": (293, HERE, 0),
    "eventfd2": (290, 0, 0),
    "memfd_create": (319, b"x", 0),
    "memfd_secret": (447, 0),
    "inotify_init1": (294, 0),
    "fanotify_init": (300, 0, 0),
    "epoll_create1": (291, 0),
    "io_uring_setup": (425, 8, HERE),
    "userfaultfd": (323, 0),
    "perf_event_open": (298, HERE, 0, -1, -1, 0),
    "bpf": (321, 0, HERE, 64),
    "dup": (32, 1),
    "fcntl": (72, 0, 4, 0),
    "ioctl": (16, 0, 0x5401, HERE),
    "tiocsti": (16, 0, 0x5412, HERE),
    "sendfile": (40, 1, 0, None, 1),
    "splice": (275, 0, None, 1, None, 1, 0),
    "kill": (62, PARENT, SIGTERM),
    "kill itself": (62, 0, SIGTERM),
    "tkill": (200, PARENT, SIGTERM),
    "tgkill": (234, PARENT, PARENT, SIGTERM),
    "rt_sigqueueinfo": (129, PARENT, SIGTERM, HERE),
    "pidfd_open": (434, PARENT, 0),
    "pidfd_send_signal": (424, 0, SIGTERM, None, 0),
    "ptrace": (101, 16, PARENT, 0, 0),
    "process_vm_readv": (310, PARENT, HERE, 1, HERE, 1, 0),
    "process_vm_writev": (311, PARENT, HERE, 1, HERE, 1, 0),
    "process_madvise": (440, 0, HERE, 1, 4, 0),
    "kcmp": (312, PARENT, PARENT, 0, 0, 0),
    "fork": (57,),
    "vfork": (58,),
    "clone into a process": (56, 17, 0, 0, 0, 0),
    "clone into a user namespace": (56, 0x10000000 | 0x3D0F00, 0, 0, 0, 0),
    "execve": (59, b"/bin/true", None, None),
    "execveat": (322, AT_FDCWD, b"/bin/true", None, None, 0),
    "wait4": (61, -1, None, 1, None),
    "setuid": (105, 0),
    "setresuid": (117, 0, 0, 0),
    "setgroups": (116, 0, None),
    "capset": (126, HERE, HERE),
    "prctl dumpable": (157, 4, 1, 0, 0, 0),
    "prctl keep capabilities": (157, 8, 1, 0, 0, 0),
    "prctl parent's death": (157, 1, 0, 0, 0, 0),
    "seccomp": (317, 1, 0, HERE),
    "landlock_create_ruleset": (444, None, 0, 1),
    "setrlimit": (160, 7, HERE),
    "prlimit64 that sets": (302, 0, 7, HERE, None),
    "prlimit64 of another": (302, PARENT, 7, None, HERE),
    "sched_setaffinity": (203, 0, 8, HERE),
    "sched_setscheduler": (144, 0, 0, HERE),
    "setpriority": (141, 0, 0, 10),
    "personality": (135, 0x0400000),
    "mmap executable": (9, None, 4096, 7, 0x22, -1, 0),
    "mmap of a file": (9, None, 4096, 1, 0x2, 0, 0),
    "mmap shared": (9, None, 4096, 3, 0x21, -1, 0),
    "mprotect executable": (10, HERE & ~4095, 4096, 7),
    "pkey_mprotect": (329, HERE & ~4095, 4096, 7, -1),
    "remap_file_pages": (216, HERE & ~4095, 4096, 0, 0, 0),
    "shmget": (29, 0, 4096, 0o1600),
    "msgget": (68, 0, 0o1600),
    "semget": (64, 0, 1, 0o1600),
    "mq_open": (240, b"probe", 0o102, 0o600, None),
    "add_key": (248, b"user", b"probe", HERE, 1, -2),
    "keyctl": (250, 0, -3, 0),
    "init_module": (175, HERE, 1, b""),
    "finit_module": (313, 0, b"", 0),
    "kexec_load": (246, 0, 0, None, 0),
    "swapon": (167, b"/tmp/probe", 0),
    "acct": (163, None),
    "sethostname": (170, b"probe", 5),
    "clock_settime": (227, 0, HERE),
    "syslog": (103, 2, HERE, 100),
    "ioperm": (173, 0, 1, 1),
    "modify_ldt": (154, 0, HERE, 16),
    "arch_prctl": (158, 0x1003, HERE),
    "timer_create": (222, 0, HERE, HERE),
    "setitimer of real time": (38, 0, HERE, None),
    "rt_sigaction": (13, SIGTERM, None, None, 8),
    "futex with priorities": (202, HERE, 6, 0, None, None, 0),
    "madvise that poisons": (28, HERE & ~4095, 4096, 100),
    "getuid": (102,),
    "uname": (63, HERE),
    "a number that nobody has": (9999,),
    "x32's read": (0x40000000,),
}
REFUSED: dict[str, tuple[object, ...]] = {
    "openat": (257, AT_FDCWD, PATH, 0),
    "openat for writing": (257, AT_FDCWD, b"/tmp/probe", 0o102, 0o600),
    "clone3": (435, HERE, 64),
}
ALLOWED: dict[str, tuple[object, ...]] = {
    "getpid": (39,),
    "gettid": (186,),
    "clock_gettime": (228, 0, HERE),
    "getrandom": (318, HERE, 8, 0),
    "mmap": (9, None, 4096, 3, 0x22, -1, 0),
    "brk": (12, None),
    "sched_yield": (24,),
    "prlimit64 that reads": (302, 0, 7, None, HERE),
    "prctl name": (157, 15, b"probe", 0, 0, 0),
}


def in_a_process(user: int, call: Callable[[], int]) -> str:
    """End of a locked process that made the call: killed, refused, or done."""
    child = os.fork()
    if child == 0:
        if user:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        held = sandbox.lock_down(1 << 30, sandbox.enter({}))
        os._exit(3 if "syscalls" not in held else 2 if call() == -1 else 0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed" if os.WTERMSIG(status) == signal.SIGSYS else f"signal {os.WTERMSIG(status)}"
    return {0: "done", 2: "refused", 3: "not locked"}[os.WEXITSTATUS(status)]


def machine_code(library: str) -> dict[str, Callable[[], int]]:
    old_getpid = ctypes.CDLL(library).old_getpid
    return {"int 0x80": lambda: int(old_getpid())}


def main(arguments: list[str]) -> int:
    user = int(arguments[0])
    calls: dict[str, Callable[[], int]] = {
        name: (lambda arguments=arguments: int(_syscall(*map(_argument, arguments))))
        for name, arguments in {**FORBIDDEN, **REFUSED, **ALLOWED}.items()
    }
    calls |= machine_code(arguments[1]) if len(arguments) > 1 else {}
    sys.stdout.write(json.dumps({name: in_a_process(user, call) for name, call in calls.items()}))
    return 0


def _argument(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
