"""What became of requests, compared with what an undisturbed service says: lost, doubled, crossed, ends.

The fake model's answer is a function of the request, so the undisturbed text is known; every request says its own
number, so another's text is known too.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """One request as its caller saw it, over all its connections. `ids` are the SSE event ids as they came."""

    number: int
    kind: str
    id: str = ""
    texts: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    ends: int = 0
    finishes: int = 0
    error: str | None = None
    connections: int = 0
    seconds: float = 0.0
    statuses: list[int] = field(default_factory=list)  # of answers that said "later"
    waits: list[str] = field(default_factory=list)


@dataclass
class Verdict:
    """Counts over all requests. All bad ones must be 0 but `failed`: a failure was told clearly, once, in its codes.

    `retried`: requests that were answered well in the end, and with "later" (429, 503) before.
    """

    requests: int = 0
    good: int = 0
    lost: int = 0
    doubled: int = 0
    crossed: int = 0
    without_end: int = 0
    with_more_ends: int = 0
    failed: int = 0
    retried: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    later: Counter[str] = field(default_factory=Counter)  # answers that said so, by status
    wrong: list[str] = field(default_factory=list)

    @property
    def flawless(self) -> bool:
        bad = (self.lost, self.doubled, self.crossed, self.without_end, self.with_more_ends, self.retried)
        return not any(bad)


def judge(outcomes: Mapping[int, Outcome], expected: Mapping[int, list[str]]) -> Verdict:
    """Hold each outcome against its expected texts, one a choice."""
    verdict = Verdict()
    owners = {text: texts for texts in expected.values() for text in texts}
    for number, wanted in expected.items():
        verdict.requests += 1
        outcome = outcomes.get(number)
        if outcome is None:
            verdict.without_end += 1
            continue
        verdict.connections += outcome.connections
        verdict.later.update(map(str, outcome.statuses))
        if outcome.statuses:
            verdict.retried += 1
            verdict.wrong.append(f"retried: {outcome}"[:2000])
        flaw = _flaw(outcome, wanted, owners)
        if flaw == "failed":
            verdict.codes[outcome.error or ""] += 1
        if flaw is None:
            verdict.good += 1
        else:
            setattr(verdict, flaw, getattr(verdict, flaw) + 1)
            if flaw != "failed":
                verdict.wrong.append(f"{flaw}: {outcome}; expected {wanted}"[:2000])
    return verdict


def _flaw(outcome: Outcome, wanted: list[str], owners: Mapping[str, list[str]]) -> str | None:
    if outcome.ends == 0:
        return "without_end"
    if outcome.ends > 1:
        return "with_more_ends"
    if len(set(outcome.ids)) < len(outcome.ids):
        return "doubled"
    if outcome.ids and sorted(outcome.ids) != list(range(len(outcome.ids))):
        return "lost"
    if outcome.error is not None:
        return "failed"
    if outcome.texts == wanted:
        return None
    if any(owners.get(text, wanted) != wanted for text in outcome.texts):
        return "crossed"
    longer = sum(map(len, outcome.texts)) > sum(map(len, wanted))
    return "doubled" if longer else "lost"
