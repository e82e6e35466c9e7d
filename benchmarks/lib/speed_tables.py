"""The table and the pictures that `engine.py` and `http.py` share: contestant, width, speed."""

from collections.abc import Mapping, Sequence

from benchmarks.lib.bits import bits
from benchmarks.lib.plots import Panel
from benchmarks.lib.report import Column, Row
from benchmarks.lib.rounds import RoundsOutcome
from benchmarks.lib.stats import Case, agreement, summarise

COLUMNS = (
    Column("prompt", "prompt", 0),
    Column("width", "at once", 0),
    Column("who", "who"),
    Column("bits", "weights bits", 0),
    Column("through", "through"),
    Column("tokens_per_s", "tokens/s"),
    Column("share", "of best peer of these bits %", 0, 100),
    Column("decode_per_s", "decode tokens/s"),
    Column("first_p50", "first token p50 ms", 0, 1000),
    Column("first_p99", "p99 ms", 0, 1000),
    Column("gap_p50", "between tokens p50 ms", 1, 1000),
    Column("gap_p99", "p99 ms", 1, 1000),
    Column("peak_mib", "peak MiB", 0),
    Column("spread", "spread %", 0, 100),
    Column("others", "others' cores %", 0, 100),
)


def rows(outcome: RoundsOutcome, through: Mapping[str, str], reference: str | None = None) -> list[Row]:
    """One row a contestant and case, by case; `same` is the share of tokens equal to the reference's.

    `share` is of the tokens/s of the fastest peer in the same case whose weights have as many bits.
    """
    made: list[Row] = []
    best = best_peers(outcome)
    for (who, case), runs in sorted(outcome.runs.items(), key=lambda item: item[0][1]):
        summary = summarise(runs)
        model = outcome.runs.get((reference, case)) if reference else None
        width = bits(who, outcome.facts.get(who, {}))
        rival = best.get((case, width)) if width is not None else None
        made.append(
            {
                "prompt": runs[0].prompt_tokens or case.prompt,
                "width": case.width,
                "new": case.new,
                "who": who,
                "bits": width,
                "through": through[who],
                "runs": summary.runs,
                "tokens_per_s": summary.tokens_per_s,
                "share": summary.tokens_per_s / rival if rival else None,
                "decode_per_s": summary.decode_per_s,
                "first_p50": summary.first_p50,
                "first_p99": summary.first_p99,
                "gap_p50": summary.gap_p50,
                "gap_p99": summary.gap_p99,
                "tokens": summary.tokens,
                "peak_mib": outcome.peak.get(who),
                "spread": summary.spread,
                "others": summary.others,
                "same": agreement(runs[0], model[0]) if model else None,
            }
        )
    return made


def best_peers(outcome: RoundsOutcome) -> dict[tuple[Case, int], float]:
    """Tokens/s of the fastest that is not ours, by case and bits of a weight."""
    best: dict[tuple[Case, int], float] = {}
    for (who, case), runs in outcome.runs.items():
        width = bits(who, outcome.facts.get(who, {}))
        if width is not None and not who.startswith("ours"):
            best[case, width] = max(best.get((case, width), 0.0), summarise(runs).tokens_per_s)
    return best


def stated(outcome: RoundsOutcome) -> list[str]:
    """A sentence for the notes: each contestant's own word on its version, precision and threads."""
    each = [
        f"{who}: {', '.join(f'{k} {v}' for k, v in facts.items())}" for who, facts in outcome.facts.items() if facts
    ]
    return [f"As each states it: {'; '.join(each)}."] if each else []


def panels(outcome: RoundsOutcome, cases: Sequence[Case]) -> list[Panel]:
    """One panel a prompt length: tokens a second over width."""
    drawn = []
    for prompt in sorted({case.prompt for case in cases}):
        lines: dict[str, list[tuple[float, float]]] = {}
        for (who, case), runs in outcome.runs.items():
            if case.prompt == prompt:
                lines.setdefault(who, []).append((case.width, summarise(runs).tokens_per_s))
        if lines:
            drawn.append(Panel(f"prompt of {prompt} tokens", "requests at once", "tokens/s", lines, doubling=True))
    return drawn
