"""A draft: the tokens after an earlier occurrence of the sequence's last tokens."""

from array import array
from collections.abc import Sequence
from typing import Protocol

TAILS = (3, 2)  # tokens that have to be the same, the longer first


class Drafts(Protocol):
    """A source of drafts for one sequence, which is made with the prompt's ids."""

    def __len__(self) -> int:
        """The number of ids that it has."""
        ...

    def extend(self, ids: Sequence[int]) -> None:
        """The next ids of the sequence."""
        ...

    def draft(self, most: int) -> tuple[int, ...]:
        """Up to `most` ids that may come next."""
        ...


class PromptLookup:
    """`Drafts` out of the sequence itself. Negative ids are no tokens (`LLMInputs.ids`) and end a draft."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = array("q", ids)

    def __len__(self) -> int:
        return len(self._ids)

    def extend(self, ids: Sequence[int]) -> None:
        self._ids.extend(ids)

    def draft(self, most: int) -> tuple[int, ...]:
        """Up to `most` ids after the latest earlier place of the tail; none where it has no such place.

        A place so near that the draft runs into the tail itself goes on with the draft: a loop is drafted whole.
        """
        place = next((place for tail in TAILS if (place := self._place(tail)) is not None), None)
        if place is None:
            return ()
        followed = self._ids[place : place + most].tolist()
        drafted = [followed[at % len(followed)] for at in range(most)]
        return tuple(drafted[: next((at for at, id_ in enumerate(drafted) if id_ < 0), most)])

    def _place(self, tail: int) -> int | None:
        """Behind the latest earlier place of the last `tail` ids."""
        if not self._ids:
            return None
        size, held = self._ids.itemsize, self._ids.tobytes()
        wanted, end = held[-tail * size :], len(held) - 1
        while (found := held.rfind(wanted, 0, end)) >= 0:
            if found % size == 0:
                return found // size + tail
            end = found + len(wanted) - 1
        return None
