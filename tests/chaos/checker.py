"""The ends of requests, compared with an undisturbed service: lost, doubled, crossed, other words, ends.

The fake model's answer is a function of the request, so the undisturbed text is known; every request says its own
number, so another's text is known too.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

DRAINING = "draining"  # this gateway leaves: another goes on with its stream


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
    later: list[str] = field(default_factory=list)  # status and code of answers that said so
    waits: list[str] = field(default_factory=list)


@dataclass
class Verdict:
    """Counts over all requests. All bad ones must be 0.

    `lost` and `doubled`: a piece is missing or comes twice, and the rest is as undisturbed. `reworded`: other words, as
    only a real model can write them. `failed`: ended with one clear error, of `codes`. `retried`: refused with "later"
    (429, 503) before its end, by a gateway that leaves too.
    """

    requests: int = 0
    good: int = 0
    lost: int = 0
    doubled: int = 0
    crossed: int = 0
    reworded: int = 0
    without_end: int = 0
    with_more_ends: int = 0
    failed: int = 0
    retried: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    later: Counter[str] = field(default_factory=Counter)  # answers that said so, by status and code
    wrong: list[str] = field(default_factory=list)

    @property
    def flawless(self) -> bool:
        return self.intact and not self.failed

    @property
    def intact(self) -> bool:
        """Each request got its answer at its first sending, or one clear error."""
        words = (self.lost, self.doubled, self.crossed, self.reworded)
        return not any((*words, self.without_end, self.with_more_ends, self.retried))


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
        verdict.later.update(outcome.later)
        if outcome.later:
            verdict.retried += 1
            verdict.wrong.append(f"retried: {outcome}"[:2000])
        flaw = _flaw(outcome, wanted, owners)
        if flaw == "failed":
            verdict.codes[outcome.error or ""] += 1
        if flaw is None:
            verdict.good += 1
        else:
            setattr(verdict, flaw, getattr(verdict, flaw) + 1)
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
    if not all(map(_differ_by_one_piece, outcome.texts, wanted)):
        return "reworded"
    longer = sum(map(len, outcome.texts)) > sum(map(len, wanted))
    return "doubled" if longer else "lost"


def _differ_by_one_piece(text: str, wanted: str) -> bool:
    """Whether the shorter text is the beginning and the end of the longer one."""
    shorter, longer = sorted((text, wanted), key=len)
    return _same(shorter, longer) + _same(reversed(shorter), reversed(longer)) >= len(shorter)


def _same(one: Iterable[str], other: Iterable[str]) -> int:
    """Number of characters that both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
