"""Turns: A B A B, and contestants that cannot start, fail or die are listed with the reason while others go on."""

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contestants.base import ContestantSpec, PipeContestant, without_paths
from benchmarks.contestants.base import Process as Child
from benchmarks.lib import procs
from benchmarks.lib.absent import Absent
from benchmarks.lib.contestant import RunFailed
from benchmarks.lib.options import options, parser
from benchmarks.lib.rounds import RoundsOutcome, play
from benchmarks.lib.stats import Case, Run

OPTIONS = options(parser("").parse_args(["--threads", "1"]))
CASES = [Case(prompt=4, new=8, width=1), Case(prompt=4, new=8, width=2)]


class Fake:
    """Writes its name down for each run."""

    through = "pipe"

    def __init__(self, name: str, diary: list[str], absent: str = "", fails_at: int = 0) -> None:
        self.name, self.diary, self.absent, self.fails_at = name, diary, absent, fails_at
        self.stopped = False

    def start(self) -> Mapping[str, Any]:
        if self.absent:
            raise Absent(self.absent)
        return {"version": "1"}

    def generate(self, prompts: Sequence[Sequence[int]], new: int) -> Run:
        if len(prompts) == self.fails_at:
            raise RunFailed("out of memory")
        self.diary.append(f"{self.name}{len(prompts)}:{new}")
        return Run(tuple((1.0,) * new for _ in prompts), (new,) * len(prompts))

    def pids(self) -> list[int]:
        return []

    def stop(self) -> None:
        self.stopped = True


def ask(one: Fake, case: Case, turn: int) -> Run:
    return one.generate([[turn]] * case.width, case.new)


def played(fakes: list[Fake]) -> RoundsOutcome:
    return play(fakes, CASES, 2, ask)


def test_contestants_take_turns_after_a_short_run_that_does_not_count() -> None:
    diary: list[str] = []
    outcome = played([Fake("a", diary), Fake("b", diary)])
    assert diary[:6] == ["a1:4", "b1:4", "a1:8", "b1:8", "a1:8", "b1:8"]
    assert {key: len(runs) for key, runs in outcome.runs.items()} == {
        (name, case): 2 for name in "ab" for case in CASES
    }


def test_one_that_cannot_start_is_listed_and_the_others_are_measured() -> None:
    fakes = [Fake("a", [], absent="is not installed"), Fake("b", [])]
    outcome = played(fakes)
    assert outcome.absent == {"a": "is not installed"}
    assert {name for name, _ in outcome.runs} == {"b"}
    assert all(fake.stopped for fake in fakes)


def test_a_case_that_fails_is_listed_and_the_other_cases_are_kept() -> None:
    outcome = played([Fake("a", [], fails_at=2)])
    assert outcome.absent == {"a, 2 at once, prompt 4": "out of memory"}
    assert list(outcome.runs) == [("a", CASES[0])]


def test_what_others_took_of_the_machine_is_noted_with_each_run() -> None:
    outcome = played([Fake("a", [])])
    assert all(share is not None and share >= 0 for share in outcome.shares)
    assert len(outcome.shares) == 4


CHILD = """
import sys
from benchmarks.lib.pipe import TokenTimes, answer_jobs

def load(settings):
    if settings["wants"] == "missing":
        import no_such_package_anywhere
    if settings["wants"] == "crash":
        raise SystemExit("no room in /very/secret/place/model.bin")
    def generate(prompts, new):
        print("chatter on standard output")
        if len(prompts) == 3:
            raise ValueError("three is too many")
        record = TokenTimes(len(prompts))
        for step in range(new - (len(prompts) == 4)):
            for index in range(len(prompts)):
                record.add(index, [step])
        return record
    return generate, {"version": "9"}

answer_jobs(load)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make contestants of the child above."""
    monkeypatch.setattr("benchmarks.contestants.base.ROOT", tmp_path)
    (tmp_path / "a_child.py").write_text(CHILD)
    root = Path(__file__).parents[2]
    (tmp_path / "benchmarks").symlink_to(root / "benchmarks")
    made: list[PipeContestant] = []

    def make(wants: str) -> PipeContestant:
        made.append(PipeContestant(wants, sys.executable, "a_child", {"wants": wants}, OPTIONS))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_a_child_answers_over_its_pipe_whatever_it_prints(child: Any) -> None:
    one = child("work")
    assert one.start() == {"version": "9"}
    run = one.generate([[1], [2]], 3)
    assert run.ids == ((0, 1, 2), (0, 1, 2))
    assert all(0 <= earlier <= later for times in run.arrivals for earlier, later in itertools.pairwise(times))
    with pytest.raises(RunFailed, match="three is too many"):
        one.generate([[1]] * 3, 3)
    with pytest.raises(RunFailed, match="asked for 4 answers of 3 tokens"):
        one.generate([[1]] * 4, 3)
    assert one.generate([[1]], 2).tokens == (2,)  # it lives on
    assert procs.resident_mib(one.pids()) > 1


def test_a_child_that_cannot_start_is_absent_with_a_reason_without_paths(child: Any) -> None:
    with pytest.raises(Absent, match="cannot import no_such_package_anywhere"):
        child("missing").start()
    with pytest.raises(Absent, match=r"ended by itself: no room in model\.bin"):
        child("crash").start()


def test_a_program_that_is_not_there_is_absent() -> None:
    with pytest.raises(Absent, match="No such file"):
        Child(ContestantSpec(["no-such-program-anywhere"]), pipe=False)


def test_a_contestant_stands_still_outside_of_its_turn() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            with procs.stopped_outside(lambda: [busy.pid]):
                pass
            stopped = settled(busy.pid)
            time.sleep(0.1)
            assert procs.cpu_seconds([busy.pid]) == stopped
        finally:
            procs.send([busy.pid], signal.SIGKILL)


def settled(pid: int) -> float:
    """Processor time once the signal has arrived."""
    before = -1.0
    while before != (now := procs.cpu_seconds([pid])):
        before = now
        time.sleep(0.05)
    return now


def test_a_tree_holds_children_of_children() -> None:
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    with subprocess.Popen([sys.executable, "-c", nested]) as parent:
        try:
            limit = time.monotonic() + 20
            while len(procs.tree(parent.pid)) < 2 and time.monotonic() < limit:
                time.sleep(0.02)
            found = procs.tree(parent.pid)
            assert found[0] == parent.pid
            assert len(found) == 2
        finally:
            procs.send(procs.tree(parent.pid), signal.SIGKILL)


def test_folders_are_cut_from_what_is_reported() -> None:
    assert without_paths("cannot open '/a/b/c.gguf': no file, see http://x/y") == (
        "cannot open 'c.gguf': no file, see http://x/y"
    )
