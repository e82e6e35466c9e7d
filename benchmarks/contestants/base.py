"""A contestant that sits at the other end of a pipe, and the process behind it."""

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.lib import procs
from benchmarks.lib.absent import Absent
from benchmarks.lib.contestant import RunFailed
from benchmarks.lib.machine import ROOT
from benchmarks.lib.options import BenchmarkOptions
from benchmarks.lib.stats import Run

LOAD_S = 900.0  # a compiler may be at work in a peer
RUN_S = 900.0
STOP_S = 20.0
TAIL = 2000  # characters of a dead contestant's log that are shown


@dataclass(frozen=True, slots=True)
class ContestantSpec:
    """Start of a process. `scratch` names a variable that gets an empty folder, removed when it has stopped.

    favour: ask for a larger share of the processor from the first moment on (`procs.favour`).
    """

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    scratch: str | None = None
    favour: bool = False


class Process:
    """A child in a session of its own that dies with the harness."""

    def __init__(self, spec: ContestantSpec, *, pipe: bool) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        self.log = (Path(self._scratch.name) / "log").open("w+", encoding="utf-8", errors="replace")
        self.scratch = Path(self._scratch.name) / "scratch"
        scratch = {spec.scratch: str(self.scratch)} if spec.scratch else {}
        try:
            self.popen = subprocess.Popen(
                list(spec.command),
                cwd=ROOT,
                env={**os.environ, **spec.env, **scratch},
                stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else self.log,
                stderr=self.log,
                text=True,
                start_new_session=True,
                preexec_fn=lambda: procs.as_contestant(spec.favour),  # safe: the harness has one thread
            )
        except OSError as error:
            self.log.close()
            self._scratch.cleanup()
            raise Absent(f"cannot be started: {error.strerror}") from None

    def pids(self) -> list[int]:
        return procs.tree(self.popen.pid) if self.popen.poll() is None else []

    def last_words(self) -> str:
        """The last line of its log, fit for a report; the lines before it go to standard error."""
        self.log.seek(0)
        text = self.log.read()[-TAIL:].strip()
        print(text, file=sys.stderr, flush=True)
        return without_paths(text.splitlines()[-1]) if text else "no word"

    def stop(self) -> None:
        """Ask, then kill whatever is left of the tree."""
        pids = self.pids()
        procs.send(pids, signal.SIGCONT)
        self.popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(STOP_S)
        procs.send(pids[::-1], signal.SIGKILL)
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout, self.log):
            if stream is not None:
                stream.close()
        self._scratch.cleanup()


class PipeContestant:
    """Runs a `*_child` module under some interpreter and speaks `benchmarks.lib.pipe` with it."""

    through = "pipe"

    def __init__(
        self,
        name: str,
        python: str,
        module: str,
        settings: Mapping[str, Any],
        options: BenchmarkOptions,
        *,
        threads: int | None = None,
        scratch: str | None = None,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """threads: None takes the options' number; 0 leaves it to the contestant. scratch: as of ContestantSpec. env:
        variables beside the common ones."""
        self.name = name
        count = options.threads if threads is None else threads
        limits = {"OMP_NUM_THREADS": str(count)} if count else {}
        shared = {**limits, "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}
        command = [python, "-m", module, json.dumps({**settings, "threads": count})]
        self.spec = ContestantSpec(command, {**shared, **env}, scratch, options.favour)
        self._process: Process | None = None

    def start(self) -> Mapping[str, Any]:
        self._process = Process(self.spec, pipe=True)
        said = self._listen(LOAD_S)
        if "absent" in said:
            raise Absent(str(said["absent"]))
        ready: Mapping[str, Any] = said["ready"]
        return ready

    def generate(self, prompts: Sequence[Sequence[int]], new: int) -> Run:
        assert self._process is not None
        assert self._process.popen.stdin is not None
        try:
            self._process.popen.stdin.write(json.dumps({"prompts": prompts, "new": new}) + "\n")
            self._process.popen.stdin.flush()
            said = self._listen(RUN_S)
        except (BrokenPipeError, Absent) as error:
            raise RunFailed(str(error) or "the process is gone") from None
        if "error" in said:
            raise RunFailed(str(said["error"]))
        return run_of(said, prompts, new)

    def pids(self) -> list[int]:
        return self._process.pids() if self._process else []

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _listen(self, limit: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.popen.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.popen.stdout, selectors.EVENT_READ)
            line = self._process.popen.stdout.readline() if selector.select(limit) else None
        if line is None:
            raise Absent(f"said nothing for {limit:g} s")
        if not line:
            raise Absent(f"ended by itself: {self._process.last_words()}")
        said: dict[str, Any] = json.loads(line)
        return said


def without_paths(text: str) -> str:
    """Folders of this machine are nobody's business; the last part of a path may be."""
    return re.sub(r"(?<![\w.:/])/(?:[^\s/:'\"]+/)+", "", text)


def run_of(said: Mapping[str, Any], prompts: Sequence[Sequence[int]], new: int) -> Run:
    """A child's answer as a run. Raises RunFailed unless every request has all its tokens."""
    arrivals = tuple(tuple(times) for times in said["arrivals"])
    counts = tuple(len(times) for times in arrivals)
    if len(arrivals) != len(prompts) or any(count != new for count in counts):
        raise RunFailed(f"asked for {len(prompts)} answers of {new} tokens, got {counts}")
    return Run(arrivals, counts, tuple(tuple(ids) for ids in said["ids"]))
