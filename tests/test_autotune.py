"""The choice among candidates at load: competitors, rejections, reports."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pandagpt_core import autotune
from pandagpt_core.autotune import AutotuneReport, Candidate, Choices, NothingFits, Step, Steps, Trial, choose, saved


def candidate(name: str, deviation: float | None = None, handicap: float = 1.0, **given: Any) -> Candidate[str]:
    return Candidate(
        name=name,
        prepare=given.get("prepare", lambda: [lambda: None]),
        make=given.get("make", lambda: name),
        deviation=None if deviation is None else lambda _made: deviation,
        limit=0.1,
        handicap=handicap,
    )


def clock(**seconds: float) -> Callable[[Steps], Mapping[str, float]]:
    """Fixed times, of those that are asked for."""
    return lambda steps: {name: seconds[name] for name in steps}


def raising(text: str) -> Callable[[], Any]:
    def raises() -> Any:
        raise RuntimeError(text)

    return raises


def test_the_fastest_within_its_limit_is_taken() -> None:
    made, report = choose("it", [candidate("a"), candidate("b", 0.01)], clock(a=2.0, b=1.0))
    assert (made, report.taken) == ("b", "b")


def test_a_candidate_that_raises_is_out_alone_and_its_reason_is_kept_whole(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pandagpt_core")
    reason = "no such operation here, " * 20 + "at its end"
    broken = [candidate("b", prepare=raising(reason)), candidate("c", make=raising("too large"))]
    made, report = choose("it", [*broken, candidate("a")], clock(a=3.0, c=1.0))
    assert made == "a"
    assert {t.name: t.out for t in report.trials} == {"a": "", "b": " ".join(reason.split()), "c": "too large"}
    logged = " ".join(r.getMessage().split(": ", 1)[1] for r in caplog.records if r.getMessage().startswith("b is"))
    assert logged == " ".join(reason.split())


def test_a_step_that_fails_when_it_runs_is_out_before_anything_is_timed() -> None:
    def timed(steps: Steps) -> Mapping[str, float]:
        assert set(steps) == {"a", "c"}
        return dict.fromkeys(steps, 1.0)

    failing: Sequence[Step] = [raising("illegal instruction")]
    assert choose("it", [candidate("a"), candidate("b", prepare=lambda: failing), candidate("c")], timed)[0] == "a"


def test_what_is_beyond_its_limit_sets_no_speed_for_the_others() -> None:
    """The wrong one is so fast that no other would be worth a library; without it the second one is."""
    candidates = [candidate("wrong", 0.3, 1.2), candidate("elsewhere", 0.0, 1.1), candidate("plain")]
    assert choose("it", candidates, clock(wrong=0.1, elsewhere=1.0, plain=2.0))[0] == "elsewhere"


@pytest.mark.parametrize("deviation", [float("nan"), float("inf"), 0.11])
def test_numbers_beyond_the_limit_or_none_at_all_are_not_served(deviation: float) -> None:
    made, report = choose("it", [candidate("wrong", deviation), candidate("plain")], clock(wrong=1.0, plain=9.0))
    assert made == "plain"
    assert "0.1 is the most" in report.trials[0].out


def test_a_gain_below_its_handicap_is_not_taken() -> None:
    candidates = [candidate("rounded", 0.0, 1.2), candidate("plain")]
    assert choose("it", candidates, clock(rounded=0.9, plain=1.0))[0] == "plain"
    assert choose("it", candidates, clock(rounded=0.8, plain=1.0))[0] == "rounded"


def test_only_as_many_are_made_whole_as_it_takes() -> None:
    slow = candidate("slow", make=raising("made"))
    assert choose("it", [slow, candidate("fast")], clock(slow=2.0, fast=1.0))[0] == "fast"


def test_where_nothing_fits_every_reason_is_in_the_error() -> None:
    with pytest.raises(NothingFits, match=r"a: broken; b: its answers deviate by 0\.5, 0\.1 is the most"):
        choose("it", [candidate("a", prepare=raising("broken")), candidate("b", 0.5)])


def test_the_clock_runs_every_step_of_every_candidate_in_turn() -> None:
    ran: list[str] = []
    steps: Steps = {"a": [lambda: ran.append("a1"), lambda: ran.append("a2")], "b": [lambda: ran.append("b1")]}
    taken = autotune.seconds(steps)
    assert ran == ["a1", "b1"] * autotune.ROUNDS + ["a2"] * autotune.ROUNDS
    assert min(taken.values()) > 0


REPORT = AutotuneReport(
    "language model", "b", "nats", (Trial("a", 0.004), Trial("b", 0.002, 0.01), Trial("c", out="not here"))
)


def test_a_report_is_kept_and_read_again(tmp_path: Path) -> None:
    autotune.save([REPORT], tmp_path / "cache")
    assert saved(tmp_path / "cache") == [REPORT]


DAMAGED = (
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b'{"key": "here"}',
    b'{"key": "here", "reports": [{"trials": 3}]}',
    b'{"key": "here", "reports": [{"what": "it", "taken": "b", "unit": "", "new": 1, "trials": []}]}',
)


def test_where_nothing_was_kept_there_is_no_report(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert saved(tmp_path / "absent") == []
    assert not caplog.records


@pytest.mark.parametrize("kept", DAMAGED)
def test_what_is_damaged_or_of_another_form_is_no_report(
    tmp_path: Path, kept: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / autotune.REPORT).write_bytes(kept)
    assert saved(tmp_path, "here") == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("damage", [None, b'{"key": "here", "repo'])
def test_a_second_start_measures_only_where_the_first_ones_choice_is_lost(tmp_path: Path, damage: bytes | None) -> None:
    measured: list[str] = []

    def timed(steps: Steps) -> dict[str, float]:
        measured.extend(sorted(steps))
        return dict(clock(a=2.0, b=1.0)(steps))

    def started() -> str:
        choices = Choices(saved(tmp_path, "here"))
        candidates = [candidate("a"), candidate("b")]
        made, report = choose("language model", candidates, timed, "nats", choices.known("language model"))
        choices(report)
        autotune.save(choices.reports, tmp_path, "here")
        return str(made)

    assert (started(), measured) == ("b", ["a", "b"])
    if damage is not None:
        (tmp_path / autotune.REPORT).write_bytes(damage)
    assert started() == "b"
    assert measured == ["a", "b"] * (1 if damage is None else 2)


def test_a_report_prints_the_choice_with_its_figures_and_why_not_the_others() -> None:
    assert REPORT.lines() == [
        "language model: b, 2 ms for the trial's steps, deviation 0.01 nats",
        "  not a: 4 ms for the trial's steps",
        "  not c: not here",
    ]


def test_what_an_earlier_start_took_is_made_again_and_nothing_is_measured() -> None:
    unmeasured = raising("measured")
    candidates = [candidate("a", prepare=unmeasured), candidate("b", prepare=unmeasured)]
    made, report = choose("language model", candidates, raising("timed"), "nats", REPORT)
    assert (made, report) == ("b", REPORT)


def test_what_cannot_be_made_again_is_chosen_anew() -> None:
    candidates = [candidate("a"), candidate("b", make=raising("gone"))]
    made, report = choose("language model", candidates, clock(a=2.0, b=1.0), "nats", REPORT)
    assert (made, report.taken) == ("a", "a")


def test_a_choice_holds_for_its_key_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    autotune.save([REPORT], tmp_path, "this machine")
    assert saved(tmp_path, "this machine") == [REPORT]
    assert not caplog.records
    assert saved(tmp_path, "another") == []
    assert "for another model, processor, version or setting" in caplog.text


def test_the_key_changes_with_processor_versions_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    here = autotune.machine_key("model")
    assert autotune.machine_key("model") == here
    keys = {here, autotune.machine_key("other model")}
    with monkeypatch.context() as changed:
        changed.setenv("ATEN_CPU_CAPABILITY", "avx2" if os.environ.get("ATEN_CPU_CAPABILITY") != "avx2" else "avx512")
        keys.add(autotune.machine_key("model"))
    for name in ("_processor", "_version"):
        with monkeypatch.context() as changed:
            changed.setattr(autotune, name, lambda *_: "another")
            keys.add(autotune.machine_key("model"))
    assert len(keys) == 5
