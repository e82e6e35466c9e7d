"""Drafts by a table of n-grams: the token that a model writes most often after its last one, two or three.

The table is counted from the model's own answers (`convert.ngrams`) and holds no caller's words. A guess is weaker than
a copy out of the prompt, and there is one after nearly every token.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pandagpt_core.engine.speculation.base import Guess

LONGEST = 3  # tokens of a context
BITS = 21  # of a token's id in a context, so that three fill 63
PARTS = ("contexts", "tokens", "rates")


class NgramTable:
    """`Drafter` by arrays: of each n of 1 to `LONGEST`, `contexts.n` [K] int64 in order (`packed`), `tokens.n` [K]
    int32 that follow them, and `rates.n` [K] float32, how often each does.

    Raises ValueError for arrays that are no such table, or tokens of another vocabulary than of `vocab` tokens.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], vocab: int) -> None:
        _check(arrays, vocab)
        self._orders = [_Order.of(arrays, n) for n in range(LONGEST, 0, -1)]

    def guesses(self, ids: Sequence[int]) -> Iterator[Guess]:
        """The token after the longest context that the table has, then the one after that."""
        tail = list(ids[-LONGEST:])
        while (guess := self._guess(tail)) is not None:
            yield guess
            tail = [*tail[1 - LONGEST :], guess.token]

    def _guess(self, tail: Sequence[int]) -> Guess | None:
        return next((guess for order in self._orders if (guess := order.guess(tail)) is not None), None)


@dataclass(frozen=True, slots=True)
class _Order:
    """The n-grams of one n. Views: one number of them is read faster than one of an array."""

    n: int
    contexts: "memoryview[int]"
    tokens: "memoryview[int]"
    rates: "memoryview[float]"

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], n: int) -> "_Order":
        contexts, tokens, rates = (np.ascontiguousarray(arrays[f"{part}.{n}"]).data for part in PARTS)
        return cls(n, contexts, tokens, rates)  # type: ignore[arg-type]  # numpy types every view as one of integers

    def guess(self, tail: Sequence[int]) -> Guess | None:
        """The token after the tail's last n; None for a context that is not here."""
        context = tail[-self.n :]
        if len(context) < self.n or min(context) < 0:
            return None
        wanted = packed(context)
        place = bisect_left(self.contexts, wanted)
        if place == len(self.contexts) or self.contexts[place] != wanted:
            return None
        return Guess(self.tokens[place], self.rates[place])


def packed(context: Sequence[int]) -> int:
    """The ids of a context as one number."""
    number = 0
    for token in context:
        number = number << BITS | token
    return number


def _check(arrays: Mapping[str, np.ndarray], vocab: int) -> None:
    names = {f"{part}.{n}" for part in PARTS for n in range(1, LONGEST + 1)}
    if set(arrays) != names:
        raise ValueError(f"a table of n-grams has {', '.join(sorted(names))}; this one has {', '.join(sorted(arrays))}")
    for n in range(1, LONGEST + 1):
        contexts, tokens, rates = parts = [arrays[f"{part}.{n}"] for part in PARTS]
        if [part.dtype.name for part in parts] != ["int64", "int32", "float32"]:
            raise ValueError(f"the {n}-grams are {', '.join(part.dtype.name for part in parts)}")
        if {part.shape for part in parts} != {(contexts.size,)}:
            raise ValueError(f"the {n}-grams have the shapes {', '.join(str(part.shape) for part in parts)}")
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocab:
            raise ValueError(f"the {n}-grams have tokens {tokens.min()} to {tokens.max()}, the model has {vocab}")
        if np.any(np.diff(contexts) <= 0):
            raise ValueError(f"the contexts of the {n}-grams are not in order")
        if not np.all((rates > 0) & (rates <= 1)):  # NaN is neither
            raise ValueError(f"the rates of the {n}-grams are not between 0 and 1")
