"""The choice at load among ways to compute the same thing: the fastest whose answers stay within its limit here.

Nothing follows from a processor's name. Each candidate is tried alone: one that raises is out and the others stay. All
are timed in turn. Then the fastest is made whole and its answers are compared with the stored weights' own; one beyond
its limit is out, and the next fastest is made. So only candidates within their limits compete.
"""

import hashlib
import json
import logging
import os
import platform
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

Step = Callable[[], object]
Steps = Mapping[str, Sequence[Step]]
Timer = Callable[[Steps], Mapping[str, float]]

ROUNDS = 12  # of each step, of which the first is slow
REPORT = "autotune.json"
CAPABILITIES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS")  # limits of a processor's use
COMPUTING = ("pandagpt", "torch", "openvino", "numpy")
LOG_WIDTH = 200  # characters of a reason in one line of the log, which cuts longer ones


@dataclass(frozen=True, slots=True)
class Candidate(Generic[T]):
    """One way to compute.

    prepare: makes the steps that are timed, each a call, and raises where this way does not exist here.
    make: the whole thing, computed this way.
    deviation: of what was made, from the stored weights' answers; None where none is to be checked.
    limit: the largest deviation that is served.
    handicap: times by which it must be faster than one without; less is noise and not worth what it costs.
    again: as `make`, where its answers were compared at an earlier load; None: `make` does.
    """

    name: str
    prepare: Callable[[], Sequence[Step]]
    make: Callable[[], T]
    deviation: Callable[[T], float] | None = None
    limit: float = 0.0
    handicap: float = 1.0
    again: Callable[[], T] | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """Measurements of a candidate; None is not measured. `out`: the reason against it, empty if it may be served."""

    name: str
    seconds: float | None = None
    deviation: float | None = None
    out: str = ""


@dataclass(frozen=True, slots=True)
class AutotuneReport:
    """The candidate taken for one purpose, and the measurements of all."""

    what: str
    taken: str
    unit: str  # of the deviations
    trials: tuple[Trial, ...] = ()

    def lines(self) -> list[str]:
        """For a person: the choice, then the other candidates."""
        rest = [trial for trial in self.trials if trial.name != self.taken]
        taken = [trial for trial in self.trials if trial.name == self.taken]
        figures = "".join(f", {_figures(trial, self.unit)}" for trial in taken if trial.seconds is not None)
        return [f"{self.what}: {self.taken}{figures}", *(f"  not {t.name}: {_figures(t, self.unit)}" for t in rest)]


Listen = Callable[[AutotuneReport], None]


def ignore(_report: AutotuneReport) -> None:
    """For callers that print no figures."""


class Choices:
    """A listener that knows what an earlier load of the same model chose on the same machine, and keeps what this one
    chooses in `reports`."""

    def __init__(self, known: Sequence[AutotuneReport] = ()) -> None:
        self._known = {report.what: report for report in known}
        self.reports: list[AutotuneReport] = []

    def __call__(self, report: AutotuneReport) -> None:
        self.reports.append(report)

    def known(self, what: str) -> AutotuneReport | None:
        return self._known.get(what)


def known_to(listener: Listen, what: str) -> AutotuneReport | None:
    """The report of an earlier choice, if the listener has one."""
    return listener.known(what) if isinstance(listener, Choices) else None


class NothingFits(ValueError):
    """No candidate computes here within its limit; the message has the reason of each."""


def choose(
    what: str,
    candidates: Sequence[Candidate[T]],
    timed: Timer | None = None,
    unit: str = "",
    known: AutotuneReport | None = None,
) -> tuple[T, AutotuneReport]:
    """The fastest candidate that computes here and stays within its limit, and the report of the trials.

    Of one candidate nothing is timed. The choice of an earlier load (`known`) is taken again without a measurement,
    unless it cannot be made any more. Raises NothingFits.
    """
    if known is not None and (again := _again(candidates, known)) is not None:
        log.info("autotuned by an earlier load: %s: %s", what, known.taken)
        return again, known
    trials = {candidate.name: Trial(candidate.name) for candidate in candidates}
    steps = {c.name: made for c in candidates if (made := _prepared(c, trials)) is not None}
    ready = [c for c in candidates if c.name in steps]
    if len(ready) > 1:
        for name, taken in (timed or seconds)(steps).items():
            trials[name] = replace(trials[name], seconds=taken)
    steps.clear()  # they hold weights
    for candidate in sorted(ready, key=lambda c: (trials[c.name].seconds or 0.0) * c.handicap):
        whole = _made(candidate, trials)
        if whole is not None:
            report = AutotuneReport(what, candidate.name, unit, tuple(trials.values()))
            log.info("autotuned: %s", "; ".join(line.strip() for line in report.lines()))
            return whole, report
    raise NothingFits(f"{what}: " + "; ".join(f"{trial.name}: {trial.out}" for trial in trials.values()))


def seconds(steps: Steps, rounds: int = ROUNDS) -> dict[str, float]:
    """Of each candidate's steps together: of each step the best of some runs.

    In turn, so that other load of the machine falls on all, and none finds its data in the processor's cache.
    """
    taken = dict.fromkeys(steps, 0.0)
    for index in range(max(len(each) for each in steps.values())):
        now = {name: each[index] for name, each in steps.items() if index < len(each)}
        runs = [{name: _once(step) for name, step in now.items()} for _ in range(rounds)]
        for name in now:
            taken[name] += min(run[name] for run in runs)
    return taken


def save(reports: Sequence[AutotuneReport], folder: Path, key: str = "") -> None:
    """Keep what was chosen, for those who print it and for the next start under the same key."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{REPORT}.tmp"
    kept = {"key": key, "reports": [asdict(report) for report in reports]}
    part.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    part.replace(folder / REPORT)


def saved(folder: Path, key: str | None = None) -> list[AutotuneReport]:
    """The reports stored there last, under that key if one is given. Empty where there are none. A file that is
    damaged, or of another version's form or another key, gives an empty list and a line in the log."""
    try:
        written = (folder / REPORT).read_bytes()
    except OSError:
        return []
    try:
        kept: dict[str, Any] = json.loads(written)
        same = key is None or kept["key"] == key
        reports = [_report(one) for one in kept["reports"]] if same else []
    except (ValueError, TypeError, KeyError) as error:
        log.warning("what an earlier start chose cannot be read and is chosen anew: %s", type(error).__name__)
        return []
    if not same:
        log.info("an earlier start chose for another model, processor, version or setting: it is chosen anew")
    return reports


def _report(kept: Mapping[str, Any]) -> AutotuneReport:
    return AutotuneReport(**{**kept, "trials": tuple(Trial(**trial) for trial in kept["trials"])})


def machine_key(*given: object) -> str:
    """Names what a choice depends on: the processor and the usable part of it, the versions of all libraries that
    compute, and the arguments (the model's digest, settings). A choice under another key is none."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = [os.environ.get(name, "") for name in CAPABILITIES]
    named = [platform.machine(), _processor(), cores, *limits, *map(_version, COMPUTING), *given]
    return hashlib.sha256(json.dumps(named, default=str).encode()).hexdigest()


def _processor() -> str:
    """Model and instruction sets, as Linux lists them; elsewhere the system's name for it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    wanted = ("vendor_id", "model name", "cpu family", "model", "stepping", "flags", "Features", "CPU part")
    return "\n".join(line for line in lines if line.partition(":")[0].strip() in wanted)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _again(candidates: Sequence[Candidate[T]], known: AutotuneReport) -> T | None:
    """The candidate that was taken; None where it is none now, or cannot be made."""
    for candidate in candidates:
        if candidate.name == known.taken:
            try:
                return (candidate.again or candidate.make)()
            except Exception as error:  # noqa: BLE001  a library may raise anything; then all are tried anew
                log.warning("%s was taken at an earlier start and cannot be made: %s", known.taken, _reason(error))
    return None


def _prepared(candidate: Candidate[T], trials: dict[str, Trial]) -> Sequence[Step] | None:
    """The steps, each of which ran once; None for a candidate that is out."""
    try:
        steps = candidate.prepare()
        for step in steps:
            step()
    except Exception as error:  # noqa: BLE001  a library shows in its own way that it does not compute this here
        _leave(candidate.name, trials, _reason(error))
        return None
    return steps


def _made(candidate: Candidate[T], trials: dict[str, Trial]) -> T | None:
    try:
        made = candidate.make()
        if candidate.deviation is None:
            return made
        deviation = candidate.deviation(made)
    except Exception as error:  # noqa: BLE001  as above
        _leave(candidate.name, trials, _reason(error))
        return None
    trials[candidate.name] = replace(trials[candidate.name], deviation=deviation)
    if deviation <= candidate.limit:  # NaN is beyond
        return made
    _leave(candidate.name, trials, f"its answers deviate by {deviation:.2g}, {candidate.limit:g} is the most")
    return None


def _leave(name: str, trials: dict[str, Trial], reason: str) -> None:
    trials[name] = replace(trials[name], out=reason)
    for line in textwrap.wrap(reason, LOG_WIDTH):
        log.info("%s is no candidate here: %s", name, line)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _once(step: Step) -> float:
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def _figures(trial: Trial, unit: str) -> str:
    if trial.out:
        return trial.out
    time_taken = "not timed" if trial.seconds is None else f"{trial.seconds * 1000:.3g} ms for the trial's steps"
    return time_taken if trial.deviation is None else f"{time_taken}, deviation {trial.deviation:.2g} {unit}".rstrip()
