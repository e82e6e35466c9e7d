"""Processes and what they use, read from /proc: memory of a tree, its processor time, the machine's. Linux."""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1


def tree(pid: int) -> list[int]:
    """A process and all that descend from it, children after their parents."""
    children: dict[int, list[int]] = {}
    for entry in PROC.glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def name(pid: int) -> str:
    """A process's own short name; empty if it is gone."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "comm").read_text().strip()
    return ""


def resident_mib(pids: list[int]) -> float:
    """Memory held now, shared pages counted in each."""
    return sum(_status_kib(pid, "VmRSS") for pid in pids) / 1024


def proportional_mib(pid: int) -> float:
    """Memory held now, a page shared by n processes counted 1/n (Pss); 0 if it is gone or belongs to another user."""
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def command(pid: int) -> str:
    """Command line of a process with blanks between the words; empty if it is gone."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def peak_mib(pids: list[int]) -> float:
    """The sum of each process's own highest since its start, or since `reset_peak`."""
    return sum(_status_kib(pid, "VmHWM") for pid in pids) / 1024


def reset_peak(pids: list[int]) -> None:
    """Forget what loading took; from here on `peak_mib` is of the work."""
    for pid in pids:
        with contextlib.suppress(OSError):
            (PROC / str(pid) / "clear_refs").write_text("5")


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def favour(pid: int) -> None:
    """Ask for more of the processor than other processes get. Needs rights; without them nothing changes."""
    with contextlib.suppress(OSError):
        (PROC / str(pid) / "autogroup").write_text("-15")


def cpu_seconds(pids: list[int]) -> float:
    """Processor time of these processes and of their children that ended."""
    return sum(sum(int(fields[n]) for n in range(11, 15)) for pid in pids if (fields := _stat(pid))) / TICKS


def machine_cpu_seconds() -> float:
    """Time that all cores together were not idle; time taken by other machines of the host included."""
    path = PROC / "stat"
    if not path.is_file():
        return 0.0
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, path.read_text().split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICKS


class Watch:
    """Share of the machine that other processes took between its making and `others()`."""

    def __init__(self, pids: Callable[[], list[int]], cores: int) -> None:
        self._pids, self._cores = pids, cores
        self._start, self._machine, self._own = time.monotonic(), machine_cpu_seconds(), self._ours()

    def others(self) -> float:
        """Share of all cores' time, 0 to 1."""
        machine, own = machine_cpu_seconds() - self._machine, self._ours() - self._own
        return max(0.0, machine - own) / ((time.monotonic() - self._start) * self._cores)

    def _ours(self) -> float:
        return cpu_seconds([os.getpid(), *self._pids()])


@contextlib.contextmanager
def stopped_outside(pids: Callable[[], list[int]]) -> Iterator[None]:
    """Let a process tree run inside of the block and stand still outside of it, so that it takes nothing there."""
    send(pids(), signal.SIGCONT)
    try:
        yield
    finally:
        send(pids()[::-1], signal.SIGSTOP)


def as_contestant(favoured: bool) -> None:
    """For `preexec_fn`: the kernel ends the process when its parent dies. Linux; elsewhere nothing."""
    if favoured:
        favour(os.getpid())
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (parent is 1, processor times 11 to 14); empty if it is gone."""
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return []


def _status_kib(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0
