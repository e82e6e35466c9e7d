"""Where running sequences have their keys and values: places with the runner, and the prefixes kept beyond them."""

from collections.abc import Iterable
from itertools import takewhile

from pandagpt_core.engine.prefix_cache import Block, PrefixIndex
from pandagpt_core.engine.runners.base import Runner
from pandagpt_core.engine.sequence import Sequence
from pandagpt_core.interface import PrefixStats

WORTH_WAITING = 2  # blocks that another one is reading just now; for less nobody waits a step


class Memory:
    """A sequence is promised its prefix while it waits, begins with it, is kept once read, and ends.

    What is kept was computed by a sequence whose logits were finite since: nothing that is not finite is ever shared.
    """

    def __init__(self, runner: Runner, places: int, block_size: int) -> None:
        self._runner, self._size, self._places = runner, block_size, places
        self._index = PrefixIndex(places, block_size)
        self._promised: dict[Sequence, list[Block]] = {}
        self._asked = self._hits = 0

    def promise(self, sequence: Sequence) -> int:
        """How many of the prompt's tokens need no computing. They stay until it begins, and may be more by then."""
        blocks = self._find(sequence)
        self._index.hold(blocks)
        self._promised[sequence] = blocks
        return min(len(blocks) * self._size, sequence.prompt_length)

    def forget(self, sequence: Sequence) -> None:
        """It no longer waits."""
        self._index.drop(self._promised.pop(sequence, []))

    def begin(self, sequence: Sequence) -> None:
        """Give it the longest prefix there is; the rest of its positions is to be computed."""
        blocks = self._find(sequence)
        self.forget(sequence)
        if blocks:
            self._runner.recall(sequence, [block.place for block in blocks])
        sequence.computed = len(blocks) * self._size
        self._asked += sequence.length
        self._hits += sequence.computed

    def soon(self, sequence: Sequence, reading: Iterable[Sequence]) -> bool:
        """Whether one of no lower priority is reading so much of the same prefix that waiting for it spares work."""
        ids = sequence.ids(sequence.length - 1)
        enough = max(len(self._promised.get(sequence, ())) + 1, WORTH_WAITING) * self._size
        return self._places > 0 and any(
            _common(ids, other.ids(other.length)) >= enough
            for other in reading
            if other.root == sequence.root and (other.priority == "interactive" or sequence.priority == "batch")
        )

    def keep(self, sequence: Sequence) -> None:
        """Keep what it has computed and was found finite."""
        known, new = self._index.add(sequence.root, sequence.ids(sequence.computed))
        if new:
            self._runner.keep(sequence, known, [block.place for block in new])
        sequence.kept = True

    def end(self, sequence: Sequence) -> None:
        """It runs no longer; its answer is kept too, for the conversation's next turn."""
        if sequence.proven:
            self.keep(sequence)
        self._runner.release(sequence)
        sequence.computed, sequence.proven, sequence.kept = 0, False, False

    def stats(self) -> PrefixStats:
        return PrefixStats(self._asked, self._hits, len(self._index), self._places, self._index.evicted)

    def _find(self, sequence: Sequence) -> list[Block]:
        """Never all of it: the last position is computed for its logits."""
        return self._index.find(sequence.root, sequence.ids(sequence.length - 1))


def _common(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """How many ids they begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
