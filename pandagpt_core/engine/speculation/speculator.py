"""Drafts for the sequences of a step, as many tokens as are likely to save more time than they take."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass, field, replace

from pandagpt_core.engine.sequence import ScheduledChunk, Sequence
from pandagpt_core.engine.speculation.base import Drafter, Guess
from pandagpt_core.engine.speculation.drafting import Drafting, SequenceDrafter
from pandagpt_core.engine.speculation.prompt_lookup import PromptLookup

ROWS = 64  # of a step with drafts, at most: more takes longer than anybody should wait for a step
CAUTION = 1.5  # times what a row costs by its step: drafts that come to nothing cost a little beside it
LEAST_LIKELY = 0.02  # of a token with all before it, that is worth a row of a step at all
STAYS = 4  # steps, over which what a change of their number of rows takes is spread

PRIOR = 0.06  # of the time of a step of one row, before any two steps had other numbers of rows
WEIGHT = 1.0  # of the prior, as squared rows of variation
FORGET = 0.99  # weight of a step, of the next one's
STEADY = 8  # steps, after which one that takes more than OUTLIER times what was expected counts as that
OUTLIER = 2.0
LEAST = 0.02  # of a step's time that a row costs in any case


class StepCost:
    """The cost of a row more in a step, learned from the steps' times.

    Seconds of a step of `rows` are a line, fitted by least squares to the steps seen, later ones counting more.
    """

    def __init__(self) -> None:
        self._count = self._rows = self._seconds = self._squares = self._products = 0.0
        self._seen = 0

    def observe(self, rows: int, seconds: float) -> None:
        if self._seen >= STEADY:
            seconds = min(seconds, OUTLIER * self._expected(rows))
        self._seen += 1
        kept = FORGET
        self._count = self._count * kept + 1
        self._rows = self._rows * kept + rows
        self._seconds = self._seconds * kept + seconds
        self._squares = self._squares * kept + rows * rows
        self._products = self._products * kept + rows * seconds

    def of_a_row(self, rows: int) -> float:
        """The time of one row more, as a part of that of a step of `rows`."""
        if not self._seen:
            return PRIOR / (1 + PRIOR * (rows - 1))
        return max(LEAST / rows, self._slope() / max(self._expected(rows), 1e-9))

    def _expected(self, rows: int) -> float:
        return self._mean_seconds + self._slope() * (rows - self._mean_rows)

    def _slope(self) -> float:
        rows, seconds = self._mean_rows, self._mean_seconds
        prior = seconds * PRIOR / (1 + PRIOR * (rows - 1))
        together = self._products / self._count - rows * seconds
        variation = self._squares / self._count - rows * rows
        return max(0.0, (together + WEIGHT * prior) / (variation + WEIGHT))

    @property
    def _mean_rows(self) -> float:
        return self._rows / self._count

    @property
    def _mean_seconds(self) -> float:
        return self._seconds / self._count


@dataclass
class Speculator:
    """Drafts of at most `most` tokens for each decoding sequence.

    A step gets the number of rows that is likely to give the most tokens for its time, and the likeliest tokens of all
    drafts fill it. `computed` and `change` are the runner's. `drafted` and `accepted` count tokens.
    """

    most: int
    drafters: Items[Drafter] = (PromptLookup(),)
    computed: Callable[[int], int] = int
    change: int = 0
    cost: StepCost = field(default_factory=StepCost)
    drafted: int = 0
    accepted: int = 0
    _held: dict[Sequence, Drafting] = field(default_factory=dict)
    _rows: int = 0  # of the step, as computed
    _steady: bool = False  # whether it has as many as the one before

    def add_drafts(self, chunks: Items[ScheduledChunk]) -> list[ScheduledChunk]:
        """The same chunks, those of decoding sequences with a draft where it pays."""
        if not self.most:
            return list(chunks)
        rows, tokens = sum(chunk.count for chunk in chunks), sum(chunk.samples for chunk in chunks)
        least = self._least(rows, tokens)
        proposed = [self._proposed(chunk, least) for chunk in chunks]
        ranked = sorted(((-guess.rate, at) for at, guesses in enumerate(proposed) for guess in guesses))
        count = self._worth(rows, tokens, [-rate for rate, _ in ranked])
        taken = Counter(at for _, at in ranked[:count])
        now = self.computed(rows + count)
        self._rows, self._steady = now, now == self._rows
        return [self._drafted(*each, taken[at]) for at, each in enumerate(zip(chunks, proposed, strict=True))]

    def _least(self, rows: int, tokens: int) -> float:
        """The likelihood below which no token can be worth its row, where no row is free."""
        free = self.computed(rows) > rows
        return LEAST_LIKELY if free else max(LEAST_LIKELY, self.cost.of_a_row(rows) * tokens)

    def _proposed(self, chunk: ScheduledChunk, least: float) -> list[Guess]:
        sequence = chunk.sequence
        if not chunk.samples or chunk.count > 1:
            return []
        if sequence not in self._held:
            ids = array("q", sequence.inputs.ids)
            self._held[sequence] = Drafting(ids, [SequenceDrafter(drafter) for drafter in self.drafters])
        left = sequence.max_tokens - len(sequence.tokens) - 1  # after the token that the step gives in any case
        return self._held[sequence].propose(sequence, max(0, min(self.most, left)), least)

    def _worth(self, rows: int, tokens: int, rates: Items[float]) -> int:
        """The number of drafted tokens, the likeliest first, for a step of so many rows that gives so many tokens."""
        least = self.computed(rows)
        row = CAUTION * self.cost.of_a_row(least)
        best, most = 0, 0.0
        for total in self._totals(rows, len(rates)):
            count = min(total - rows, len(rates))
            time = 1 + row * (total - least + (self.change / STAYS if total != self._rows else 0))
            gained = (tokens + sum(rates[:count])) / time
            if gained > most:
                best, most = count, gained
        return best

    def _totals(self, rows: int, proposed: int) -> Iterator[int]:
        """The numbers of rows that may be computed: the least, and larger ones as long as there are tokens."""
        total = self.computed(rows)
        yield total
        while total < min(ROWS, rows + proposed):
            total = self.computed(total + 1)
            yield total

    def _drafted(self, chunk: ScheduledChunk, proposed: Items[Guess], count: int) -> ScheduledChunk:
        if drafting := self._held.get(chunk.sequence):
            drafting.take(count)
        self.drafted += count
        return replace(chunk, draft=tuple(guess.token for guess in proposed[:count]))

    def observe(self, chunks: Items[ScheduledChunk], seconds: float) -> None:
        """A step's time, where it read no prompt and had as many rows as the one before, or a change costs nothing."""
        if (self._steady or not self.change) and all(chunk.samples and chunk.count == 1 for chunk in chunks):
            self.cost.observe(self._rows or sum(chunk.rows for chunk in chunks), seconds)

    def learn(self, chunk: ScheduledChunk, accepted: int) -> None:
        """Count the accepted tokens of the chunk's draft."""
        self.accepted += accepted
        if drafting := self._held.get(chunk.sequence):
            drafting.learn(accepted)

    def forget(self, sequence: Sequence) -> None:
        self._held.pop(sequence, None)
