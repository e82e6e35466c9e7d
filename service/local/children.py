"""Child processes that are restarted when they die and never outlive their parent."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

WRONG_CALL = 2  # exit status of a child whose settings are wrong: it would fail again
STEADY_S = 30.0  # a child that lived this long starts again with the first pause
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Policy:
    """Pauses before a restart and the time to end in, seconds."""

    restart_s: float
    restart_max_s: float
    stop_grace_s: float


@dataclass(frozen=True, slots=True)
class Spec:
    """A program to run. `orphan_signal` is the kernel's signal to the child when the supervisor itself is killed."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    orphan_signal: signal.Signals = signal.SIGKILL


class ChildFailed(Exception):
    """A child ended in a way that a restart cannot mend."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"{name} cannot start; its reason stands above")
        self.name = name
        self.status = status


class Child:
    """One process, in a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone."""

    def __init__(self, spec: Spec, policy: Policy, report: Callable[[str], None]) -> None:
        self.spec = spec
        self._policy = policy
        self._report = report
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause = policy.restart_s
        self._due: float | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None while it does not run."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Run it."""
        self._due = None
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            list(self.spec.command),
            env={**os.environ, **self.spec.env},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=dying_with(os.getpid(), self.spec.orphan_signal),
        )

    def tend(self) -> None:
        """Restart it if it died and its pause has passed. Raises ChildFailed where that is no use."""
        now = time.monotonic()
        if self._process is not None and (status := self._process.poll()) is not None:
            self._end_group()
            self._process = None
            if status == WRONG_CALL:
                raise ChildFailed(self.spec.name, status)
            if now - self._started >= STEADY_S:
                self._pause = self._policy.restart_s
            self._report(f"{self.spec.name} ended ({_how(status)}); starting it again in {self._pause:g} s")
            self._due = now + self._pause
            self._pause = min(2 * self._pause, self._policy.restart_max_s)
        if self._due is not None and now >= self._due:
            self.start()

    def terminate(self) -> None:
        """SIGTERM to its group."""
        self._due = None
        if self._process is not None:
            self._process.terminate()

    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """End it now, and whatever it started and left behind."""
        if self._process is not None:
            self._end_group()
            self._process.wait()
            self._process = None

    def _end_group(self) -> None:
        # The session's process group outlives its leader while any member of it lives.
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def stop(children: Sequence[Child], grace_s: float, report: Callable[[str], None], hurry: Callable[[], bool]) -> None:
    """End all of them at once: SIGTERM, wait at most `grace_s` or until `hurry()`, then kill what is left."""
    for child in children:
        child.terminate()
    limit = time.monotonic() + grace_s
    while time.monotonic() < limit and not hurry() and not all(child.ended() for child in children):
        time.sleep(0.02)
    for child in children:
        if not child.ended():
            report(f"{child.spec.name} did not end; killing it")
        child.kill()


def _how(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"


def dying_with(parent: int, orphan_signal: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` that has the kernel end the child at every death of its parent; on Linux.

    For a parent of one thread: the code between fork and exec takes no lock of another thread then.
    """
    return (lambda: _die_with(parent, orphan_signal)) if sys.platform == "linux" else None


def _die_with(parent: int, orphan_signal: signal.Signals) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(orphan_signal))
    if os.getppid() != parent:
        os._exit(1)
