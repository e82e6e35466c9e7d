"""Contestants taking turns: A B A B for every case, everybody but the one at work standing still."""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from benchmarks.lib import procs
from benchmarks.lib.absent import Absent
from benchmarks.lib.contestant import Contestant, RunFailed
from benchmarks.lib.machine import cores
from benchmarks.lib.stats import Case, Run

WARM_TOKENS = 4
C = TypeVar("C", bound=Contestant)
Ask = Callable[[C, Case, int], Run]


@dataclass
class RoundsOutcome:
    """`runs` by contestant and case, `peak` memory of the work in MiB, `absent` and `failed` with their reasons."""

    runs: dict[tuple[str, Case], list[Run]] = field(default_factory=dict)
    peak: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Mapping[str, object]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def shares(self) -> list[float | None]:
        """Shares of the machine that others took, run by run."""
        return [run.others for runs in self.runs.values() for run in runs]


def play(
    contestants: Sequence[C], cases: Sequence[Case], rounds: int, ask: Ask[C], *, favour: bool = False
) -> RoundsOutcome:
    """Start everybody, let each answer every case `rounds` times in turn, stop everybody.

    A contestant that cannot start or fails a case is absent from it with its reason; the others go on.
    """
    outcome = RoundsOutcome()
    with contextlib.ExitStack() as stack:
        present = [one for one in contestants if _started(one, stack, outcome, favour)]
        for case in cases:
            for one in present:
                _attempt(one, replace(case, new=min(case.new, WARM_TOKENS)), 0, ask, outcome, keep=False)
            for turn in range(1, rounds + 1):
                for one in present:
                    _attempt(one, case, turn, ask, outcome, keep=True)
        for one in present:
            outcome.peak[one.name] = procs.peak_mib(one.pids())
    return outcome


def _started(one: C, stack: contextlib.ExitStack, outcome: RoundsOutcome, favour: bool) -> bool:
    _tell(f"{one.name}: starting")
    stack.callback(one.stop)
    try:
        outcome.facts[one.name] = one.start()
    except Absent as reason:
        outcome.absent[one.name] = str(reason)
        _tell(f"{one.name}: absent, {reason}")
        return False
    for pid in one.pids() if favour else ():  # services put their halves into sessions of their own
        procs.favour(pid)
    procs.reset_peak(one.pids())
    with procs.stopped_outside(one.pids):
        return True


def _attempt(one: C, case: Case, turn: int, ask: Ask[C], outcome: RoundsOutcome, *, keep: bool) -> None:
    with procs.stopped_outside(one.pids):
        watch = procs.Watch(one.pids, cores())
        try:
            run = ask(one, case, turn)
        except (RunFailed, Absent) as reason:
            outcome.absent[f"{one.name}, {case.width} at once, prompt {case.prompt}"] = str(reason)
            _tell(f"{one.name}: failed, {reason}")
            return
        others = watch.others()
    if keep:
        outcome.runs.setdefault((one.name, case), []).append(replace(run, others=others))
        _tell(f"{one.name}: {case.width} at once, prompt {case.prompt}: {run.tokens_per_s:.1f} tokens/s")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
