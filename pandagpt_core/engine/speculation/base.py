"""The contract of a drafter: guesses of the tokens that come next, each with how often it is right."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class Guess(NamedTuple):
    """A token that may come next. rate: how often it is right where those before it are."""

    token: int
    rate: float


class Drafter(Protocol):
    """One source of drafts. It keeps nothing of a sequence."""

    def guesses(self, ids: Sequence[int]) -> Iterator[Guess]:
        """Tokens that may follow `ids`, one after another, as long as it has any. Negative ids are no tokens
        (`LLMInputs.ids`)."""
        ...
