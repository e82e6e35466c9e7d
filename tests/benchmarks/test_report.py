"""Reports: the table, the JSON lines, what is said of noise and of the machine; pictures."""

import json
import os
import platform
from pathlib import Path

import pytest

from benchmarks.lib import machine, plots
from benchmarks.lib.report import BenchmarkReport, Column, Row, folder, publish, quietness

COLUMNS = (Column("who", "who"), Column("rate", "tokens/s"), Column("first", "ms", 0, 1000), Column("note", "note"))
ROWS: tuple[Row, ...] = (
    {"who": "ours", "rate": 1234.56, "first": 0.0125, "note": None},
    {"who": "a peer", "rate": None, "first": 1.0},
)


@pytest.fixture(scope="module")
def facts() -> dict[str, object]:
    return machine.facts()


@pytest.fixture
def report() -> BenchmarkReport:
    return BenchmarkReport("speed", "Speed", COLUMNS, ROWS, ["greedy"], {"another": "is not installed"})


def test_results_of_a_machine_with_a_gpu_lie_under_its_name() -> None:
    found = {"processor": "AMD EPYC (tm) 9004", "cores": 16, "memory_gib": 128, "gpu": None, "date": "2026-11-22 09:00"}
    assert folder(found).name == "2026-11-22-amd-epyc-9004-16c-128g"
    several = "NVIDIA H200, 143771 MiB\nNVIDIA H200, 143771 MiB"
    assert folder({**found, "gpu": several}).name == "2026-11-22-amd-epyc-9004-16c-128g-nvidia-h200"


def test_the_table_scales_rounds_and_leaves_unknown_cells_empty(report: BenchmarkReport) -> None:
    assert report.table().splitlines() == [
        "| who | tokens/s | ms | note |",
        "| --- | ---: | ---: | ---: |",
        "| ours | 1,234.6 | 12 |  |",
        "| a peer |  | 1,000 |  |",
    ]


def test_who_is_absent_is_listed_with_the_reason_and_not_dropped(report: BenchmarkReport, facts: machine.Facts) -> None:
    assert "- another: is not installed" in report.markdown(facts)
    head = json.loads(report.json_lines(facts).splitlines()[0])
    assert head["absent"] == {"another": "is not installed"}


def test_json_lines_hold_unrounded_figures_after_a_line_of_facts(report: BenchmarkReport, facts: machine.Facts) -> None:
    head, *rows = (json.loads(line) for line in report.json_lines(facts).splitlines())
    assert head["facts"]["cores"] == machine.cores()
    assert rows[0] == {"benchmark": "speed", "who": "ours", "rate": 1234.56, "first": 0.0125, "note": None}


def test_a_report_is_printed_and_kept(
    report: BenchmarkReport, facts: machine.Facts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(report, facts, tmp_path / "new")
    printed = capsys.readouterr().out
    assert report.table() in printed
    assert (tmp_path / "new" / "speed.md").read_text() in printed
    assert (tmp_path / "new" / "speed.jsonl").read_text() in printed


def test_without_a_folder_nothing_is_kept(report: BenchmarkReport, facts: machine.Facts, tmp_path: Path) -> None:
    publish(report, facts, None)
    assert not list(tmp_path.iterdir())


def test_a_report_without_rows_says_so(facts: machine.Facts) -> None:
    assert "Nothing was measured." in BenchmarkReport("x", "X", (), ()).markdown(facts)


def test_a_busy_machine_is_called_not_quiet() -> None:
    assert "NOT quiet" in quietness([0.5, None, 0.6, 0.01])
    assert "the machine was quiet" in quietness([0.02, 0.03, 0.9])
    assert "not known" in quietness([None])


def test_facts_name_the_machine_but_neither_its_host_nor_a_path(facts: machine.Facts) -> None:
    text = json.dumps(facts)
    assert facts["processor"]
    assert int(str(facts["memory_gib"])) > 0
    assert "torch" in dict(facts["versions"])  # type: ignore[call-overload]  # facts are objects
    assert str(machine.ROOT) not in text
    assert os.sep + "home" not in text
    assert len(platform.node()) < 4 or platform.node() not in text


def test_results_lie_in_a_folder_of_day_and_machine(facts: machine.Facts) -> None:
    intel = {
        **facts,
        "processor": "Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz",
        "cores": 8,
        "memory_gib": 64,
        "imitated": {},
    }
    intel["features"] = ["avx2", "avx512f", "avx512_vnni"]
    assert machine.slug(intel) == "intel-xeon-gold-6430-vnni-8c-64g"
    assert machine.slug({**intel, "features": ["avx2"]}) == "intel-xeon-gold-6430-avx2-8c-64g"
    assert machine.slug({**intel, "features": ["avx2", "avx512f"]}) == "intel-xeon-gold-6430-avx512-8c-64g"
    assert machine.slug({**intel, "features": ["avx2", "avx_vnni"]}) == "intel-xeon-gold-6430-avx2-vnni-8c-64g"
    assert folder({**intel, "date": "2030-01-02 03:04 UTC"}).name == "2030-01-02-intel-xeon-gold-6430-vnni-8c-64g"


def test_an_imitated_lesser_processor_stands_in_the_name_and_the_report(
    report: BenchmarkReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in machine.IMITATED:
        monkeypatch.delenv(name, raising=False)
    plain = machine.facts()
    assert "-as-" not in machine.slug(plain)
    assert "imitated" not in report.markdown(plain)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "-as-avx2-" in machine.slug(machine.facts())
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    lesser = machine.facts()
    assert machine.slug(lesser) == machine.slug(plain).replace(f"-{machine.cores()}c-", f"-as-avx2-{machine.cores()}c-")
    assert "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2" in report.markdown(lesser)


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    panel = plots.Panel("t", "x", "y", {"ours": [(4, 2.0), (1, 1.0)], "peer": [(1, 0.5)]}, ("most", 3.0), doubling=True)
    plots.draw(tmp_path / "deep" / "a.png", [panel, plots.Panel("empty", "x", "y", {})])
    assert (tmp_path / "deep" / "a.png").read_bytes().startswith(b"\x89PNG")
