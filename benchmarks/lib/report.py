"""A benchmark's outcome as a Markdown table and JSON lines, printed and kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.lib.machine import ROOT, Facts, slug

Value = str | float | int | None
Row = Mapping[str, Value]
RESULTS = ROOT / "benchmarks" / "results"
QUIET = 0.1  # a share of the machine that others may take before a result is called noisy


@dataclass(frozen=True, slots=True)
class Column:
    """`key` of a row, shown under `title`; `digits` after the point."""

    key: str
    title: str
    digits: int = 1
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class BenchmarkReport:
    """`absent` maps who was not measured to the reason; each is listed, none is left out."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    absent: Mapping[str, str] = field(default_factory=dict)

    def table(self) -> str:
        heads = [column.title for column in self.columns]
        rules = ["---" if self._is_text(column) else "---:" for column in self.columns]
        cells = [[_shown(row.get(column.key), column) for column in self.columns] for row in self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in [heads, rules, *cells])

    def markdown(self, facts: Facts) -> str:
        parts = [f"# {self.title}", _described(facts), self.table() if self.rows else "Nothing was measured."]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        if self.absent:
            parts.append("Not measured:\n\n" + "\n".join(f"- {who}: {why}" for who, why in self.absent.items()))
        return "\n\n".join(parts) + "\n"

    def json_lines(self, facts: Facts) -> str:
        head = {"benchmark": self.name, "facts": facts, "absent": dict(self.absent), "notes": list(self.notes)}
        return "".join(json.dumps(line) + "\n" for line in [head, *({"benchmark": self.name, **r} for r in self.rows)])

    def _is_text(self, column: Column) -> bool:
        return any(isinstance(row.get(column.key), str) for row in self.rows)


def publish(report: BenchmarkReport, facts: Facts, out: Path | None) -> None:
    """Print it, and keep it in `out` if that is a folder's name."""
    markdown, lines = report.markdown(facts), report.json_lines(facts)
    print(f"{markdown}\n{lines}", flush=True)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{report.name}.md").write_text(markdown, encoding="utf-8")
        (out / f"{report.name}.jsonl").write_text(lines, encoding="utf-8")


def folder(facts: Facts) -> Path:
    """Folder of the results of this day and kind of machine."""
    return RESULTS / f"{str(facts['date'])[:10]}-{slug(facts)}"


def quietness(shares: Sequence[float | None]) -> str:
    """One sentence for the notes: how far the machine's other work may have moved the figures."""
    known = [share for share in shares if share is not None]
    if not known:
        return "How busy other processes were is not known here."
    typical, worst = sorted(known)[len(known) // 2], max(known)
    said = f"Other processes took {typical:.0%} of the cores in the middle run and {worst:.0%} in the worst"
    verdict = "quiet" if typical <= QUIET else "NOT quiet: compare rows of this run with one another, not with others"
    return f"{said}: the machine was {verdict}."


def _described(facts: Facts) -> str:
    versions = facts["versions"] if isinstance(facts["versions"], Mapping) else {}
    features = facts["features"] if isinstance(facts["features"], Sequence) else ()
    limits = facts.get("imitated", {})
    assert isinstance(limits, Mapping)
    lesser = [f"A lesser processor is imitated: {' '.join(f'{n}={v}' for n, v in limits.items())}. Not all heed it."]
    lines = [
        f"{facts['date']}, commit {facts['commit']}.",
        f"{facts['processor']}, {facts['cores']} cores ({', '.join(map(str, features)) or 'no wide vectors'}), "
        f"{facts['memory_gib']} GiB, GPU: {facts['gpu'] or 'none'}.",
        *(lesser if limits else ()),
        f"{facts['system']}, Python {facts['python']}, {', '.join(f'{n} {v}' for n, v in versions.items())}.",
    ]
    return "\n".join(lines)


def _shown(value: Value, column: Column) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return f"{value * column.scale:,.{column.digits}f}"
