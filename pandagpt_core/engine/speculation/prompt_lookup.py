"""A draft: the tokens after an earlier occurrence of the sequence's last tokens."""

from array import array
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from types import MappingProxyType

from pandagpt_core.engine.speculation.base import Guess

# Tokens that have to be the same, the longer first, and how often the tokens behind them are the same too.
TAILS = MappingProxyType({3: 0.7, 2: 0.5})


class PromptLookup:
    """`Drafter` out of the sequence itself."""

    def guesses(self, ids: Sequence[int]) -> Iterator[Guess]:
        """The tokens behind the latest earlier place of the tail; none where it has no such place.

        A place so near that the draft runs into the tail itself goes on with the draft: a loop is drafted whole.
        """
        held = array("q", ids)
        for tail, rate in TAILS.items():
            place = _place(held, tail)
            if place is not None:
                for token in cycle(islice(held, place, None)):
                    if token < 0:
                        return
                    yield Guess(token, rate)


def _place(ids: "array[int]", tail: int) -> int | None:
    """Behind the latest earlier place of the last `tail` ids."""
    if not ids:
        return None
    size, held = ids.itemsize, ids.tobytes()
    wanted, end = held[-tail * size :], len(held) - 1
    while (found := held.rfind(wanted, 0, end)) >= 0:
        if found % size == 0:
            return found // size + tail
        end = found + len(wanted) - 1
    return None
