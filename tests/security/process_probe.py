"""A locked process, and what its `/proc` shows to others. Run as a program, for it changes its user.

python -m tests.security.process_probe locked USER    locks itself as USER, writes its layers, waits for its input
python -m tests.security.process_probe read PID       as the process's user: which of its files can be read
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from service.gateway.decoding import sandbox
from service.gateway.decoding.sandbox import libc

NAMESPACES = ("net", "mnt", "ipc", "uts")
MEMORY = ("mem", "environ", "maps")


def statuses(pid: int) -> list[dict[str, str]]:
    """The fields of `/proc/<pid>/status`, a thread each."""
    files = sorted(Path(f"/proc/{pid}/task").glob("*/status"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    return [_fields(text) for text in texts]


def _fields(status: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}


def own_namespaces(pid: int) -> set[str]:
    """Namespaces in which the process is and we are not. Raises PermissionError where we may not look."""
    return {one for one in NAMESPACES if os.readlink(f"/proc/{pid}/ns/{one}") != os.readlink(f"/proc/self/ns/{one}")}


def become(user: int) -> None:
    """Become `user` as after a login: no right of root, and memory that the user's other processes may read."""
    if user != os.geteuid():
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    libc.prctl(libc.PR_SET_DUMPABLE, 1)


def readable(pid: int) -> list[str]:
    """Files of the process in MEMORY that can be opened."""
    found = []
    for name in MEMORY:
        try:
            os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
        except PermissionError:
            continue
        found.append(name)
    return found


def main(arguments: Sequence[str]) -> int:
    what, number = arguments[0], int(arguments[1])
    if what == "locked":
        become(number)
        held = sandbox.lock_down(1 << 30, sandbox.enter({}))
        os.write(1, json.dumps(held).encode() + b"\n")
        os.read(0, 1)
    else:
        become(int(statuses(number)[0]["Uid"].split()[0]))
        os.write(1, json.dumps(readable(number)).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
