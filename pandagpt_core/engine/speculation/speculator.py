"""Numbers of tokens to draft, by sequence: as many as are likely to save more time than they take."""

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, field, replace

from pandagpt_core.engine.sequence import ScheduledChunk, Sequence
from pandagpt_core.engine.speculation.prompt_lookup import Drafts, PromptLookup

USUAL = 0.7  # of drafted tokens are accepted, before any was seen; a sequence without drafts goes back to it
ROWS = 64  # of a step with drafts, at most: more takes longer than anybody should wait for a step
CAUTION = 1.5  # times what a row costs by its step: drafts that come to nothing cost a little beside it
LEARNT = 1 / 8  # of the rate is the last token's
RESTED = 1 / 128  # of the way back, for each step without a draft


@dataclass(slots=True)
class Drafting:
    """Drafts of one sequence: their source, and the share of accepted tokens."""

    source: Drafts
    rate: float = USUAL

    def draft(self, sequence: Sequence, most: int) -> tuple[int, ...]:
        known = len(self.source) - sequence.prompt_length
        self.source.extend(sequence.tokens[known:])
        return self.source.draft(most)

    def learn(self, drafted: int, accepted: int) -> None:
        """A draft's tokens count up to the first that was another."""
        for right in (*(True,) * accepted, *(False,) * (accepted < drafted)):
            self.rate += (right - self.rate) * LEARNT

    def rest(self) -> None:
        self.rate += (USUAL - self.rate) * RESTED

    def depth(self, worth: float, most: int) -> int:
        """The number of tokens, of `most`, each of which is accepted more often than `worth`."""
        depth, likely = 0, self.rate
        while depth < most and likely > worth:
            depth, likely = depth + 1, likely * self.rate
        return depth


PRIOR = 0.1  # of the time of a step of one row, before any two steps had other numbers of rows
WEIGHT = 0.1  # of the prior, as squared rows of variation
FORGET = 0.98  # weight of a step, of the next one's
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

    A row more pays where the tokens that it brings on average take longer without it: with N tokens from a step, where
    a row costs the part c of a step's time, it has to be right in more than c * N of the times, and a half more often.
    `drafted` and `accepted` count tokens.
    """

    most: int
    source: Callable[[Items[int]], Drafts] = PromptLookup
    cost: StepCost = field(default_factory=StepCost)
    drafted: int = 0
    accepted: int = 0
    _held: dict[Sequence, Drafting] = field(default_factory=dict)

    def add_drafts(self, chunks: Items[ScheduledChunk]) -> list[ScheduledChunk]:
        """The same chunks, those of decoding sequences with a draft where it pays."""
        if not self.most:
            return list(chunks)
        rows = sum(chunk.count for chunk in chunks)
        worth = CAUTION * self.cost.of_a_row(rows) * sum(chunk.samples for chunk in chunks)
        room, made = ROWS - rows, list[ScheduledChunk]()
        for chunk in chunks:
            made.append(self._with_draft(chunk, worth, room))
            room -= len(made[-1].draft)
        return made

    def _with_draft(self, chunk: ScheduledChunk, worth: float, room: int) -> ScheduledChunk:
        sequence = chunk.sequence
        if not chunk.samples or chunk.count > 1:
            return chunk
        if sequence not in self._held:
            self._held[sequence] = Drafting(self.source(sequence.inputs.ids))
        drafting = self._held[sequence]
        left = sequence.max_tokens - len(sequence.tokens) - 1  # after the token that the step gives in any case
        depth = drafting.depth(worth, min(self.most, room, left))
        draft = drafting.draft(sequence, depth) if depth > 0 else ()
        if not draft:
            drafting.rest()
            return chunk
        self.drafted += len(draft)
        return replace(chunk, draft=draft)

    def observe(self, chunks: Items[ScheduledChunk], seconds: float) -> None:
        """A step's time, where it read no prompt."""
        if all(chunk.samples and chunk.count == 1 for chunk in chunks):
            self.cost.observe(sum(chunk.rows for chunk in chunks), seconds)

    def learn(self, chunk: ScheduledChunk, accepted: int) -> None:
        """Count the accepted tokens of the chunk's draft."""
        self.accepted += accepted
        if drafting := self._held.get(chunk.sequence):
            drafting.learn(len(chunk.draft), accepted)

    def forget(self, sequence: Sequence) -> None:
        self._held.pop(sequence, None)
