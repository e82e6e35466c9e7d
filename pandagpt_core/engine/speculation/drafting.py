"""Drafts of one sequence: of the likeliest of its sources, whose rates it corrects by what became of them."""

from array import array
from collections.abc import Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from itertools import chain, islice

from pandagpt_core.engine.sequence import Sequence
from pandagpt_core.engine.speculation.base import Drafter, Guess

LEARNT = 1 / 8  # of what a drafter's rates are off for a sequence is learnt from its last token
RESTED = 1 / 512  # of the way back, for each step that took no draft of it
LEAST_FACTOR, MOST_FACTOR = 0.05, 2.0  # a rate is never 0, and after a long loop a drafter is soon doubted
SUREST = 0.98  # a rate is never so near to 1 that the longest draft always pays


@dataclass(slots=True)
class SequenceDrafter:
    """A drafter for one sequence. factor: how many times as often its guesses are right as it states."""

    drafter: Drafter
    factor: float = 1.0

    def guesses(self, ids: Items[int]) -> Iterator[Guess]:
        for token, rate in self.drafter.guesses(ids):
            yield Guess(token, min(rate * self.factor, SUREST))

    def learn(self, rates: Items[float], accepted: int) -> None:
        """A draft's tokens count up to the first that was another."""
        for at, rate in enumerate(rates[: accepted + 1]):
            self.factor += ((at < accepted) - rate) * LEARNT
        self.factor = min(max(self.factor, LEAST_FACTOR), MOST_FACTOR)

    def rest(self) -> None:
        self.factor += (1 - self.factor) * RESTED


@dataclass(slots=True)
class Drafting:
    """Drafts of one sequence. `ids`: of its prompt and its answer so far."""

    ids: "array[int]"
    drafters: Items[SequenceDrafter]
    _last: SequenceDrafter | None = None
    _rates: list[float] = field(default_factory=list)

    def propose(self, sequence: Sequence, most: int, least: float) -> list[Guess]:
        """At most `most` tokens of the drafter whose first is the likeliest, each with how often all up to it are
        right: at least `least`."""
        self.ids.extend(sequence.tokens[len(self.ids) - sequence.prompt_length :])
        opened = [(first, one, rest) for one in self.drafters for first, rest in _opened(one, self.ids)]
        self._last, self._rates, likely, proposed = None, [], 1.0, list[Guess]()
        if opened:
            first, self._last, rest = max(opened, key=lambda each: each[0].rate)
            for guess in islice(chain((first,), rest), most):
                likely *= guess.rate
                if likely < least:
                    break
                proposed.append(Guess(guess.token, likely))
                self._rates.append(guess.rate)
        return proposed

    def take(self, count: int) -> None:
        """So many of the proposed tokens are computed."""
        self._rates = self._rates[:count]
        for drafter in self.drafters:
            if drafter is not self._last or not count:
                drafter.rest()

    def learn(self, accepted: int) -> None:
        if self._last is not None:
            self._last.learn(self._rates, accepted)


def _opened(drafter: SequenceDrafter, ids: Items[int]) -> Iterator[tuple[Guess, Iterator[Guess]]]:
    """The first guess with those after it; nothing where there is none."""
    guesses = drafter.guesses(ids)
    for first in guesses:
        yield first, guesses
        return
