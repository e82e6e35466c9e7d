"""The keys and values of running sequences, which the runner holds, and the prefix cache beside them."""

from collections.abc import Iterable

from pandagpt_core.engine.prefix_cache import PrefixBlock, PrefixCache
from pandagpt_core.engine.runners.base import Runner
from pandagpt_core.engine.sequence import Sequence
from pandagpt_core.interface import PrefixStats

WORTH_WAITING = 2  # blocks that another sequence is reading now; for fewer no sequence waits a step


class KVCacheManager:
    """Reserves a prefix for a waiting sequence, loads it at admission, caches what is read, frees at the end.

    Only positions of a sequence whose logits were finite since are cached, so values that are not finite are never
    shared.
    """

    def __init__(self, runner: Runner, num_prefix_blocks: int, block_size: int) -> None:
        self._runner, self._size, self._num_blocks = runner, block_size, num_prefix_blocks
        self._prefixes = PrefixCache(num_prefix_blocks, block_size)
        self._reserved: dict[Sequence, list[PrefixBlock]] = {}
        self._queries = self._hits = 0

    def reserve(self, sequence: Sequence) -> int:
        """Number of the prompt's tokens that need no computing. They stay until `allocate`, which may find more."""
        blocks = self._find(sequence)
        self._prefixes.acquire(blocks)
        self._reserved[sequence] = blocks
        return min(len(blocks) * self._size, sequence.prompt_length)

    def cancel(self, sequence: Sequence) -> None:
        """Give up the reservation of a sequence that no longer waits."""
        self._prefixes.release(self._reserved.pop(sequence, []))

    def allocate(self, sequence: Sequence) -> None:
        """Begin the sequence with the longest cached prefix; its other positions are to be computed."""
        blocks = self._find(sequence)
        self.cancel(sequence)
        if blocks:
            self._runner.load_blocks(sequence, [block.index for block in blocks])
        sequence.num_computed_tokens = len(blocks) * self._size
        self._queries += sequence.length
        self._hits += sequence.num_computed_tokens

    def should_wait_for_prefix(self, sequence: Sequence, reading: Iterable[Sequence]) -> bool:
        """Whether a sequence of no lower priority is reading so much of the same prefix that waiting saves work.

        It lasts as long as the other's prompt is read, over any number of steps: one that is aborted, fails or is
        preempted is no longer among those that read. Blocks that the prefix cache holds already cause no wait.
        """
        ids = sequence.ids(sequence.length - 1)
        enough = max(len(self._find(sequence)) + 1, WORTH_WAITING) * self._size
        return self._num_blocks > 0 and any(
            enough <= min(len(ids), other.length) and ids[:enough] == other.ids(enough)
            for other in reading
            if other.cache_salt == sequence.cache_salt
            and (other.priority == "interactive" or sequence.priority == "batch")
        )

    def cache_prefix(self, sequence: Sequence) -> None:
        """Put the computed positions of a sequence whose logits were finite into the prefix cache."""
        known, new = self._prefixes.insert(sequence.cache_salt, sequence.ids(sequence.num_computed_tokens))
        if new:
            self._runner.store_blocks(sequence, known, [block.index for block in new])
        sequence.prefix_cached = True

    def free(self, sequence: Sequence) -> None:
        """Free a sequence that no longer runs; its answer is cached too, for the conversation's next turn."""
        if sequence.logits_finite:
            self.cache_prefix(sequence)
        self._runner.release(sequence)
        sequence.num_computed_tokens, sequence.logits_finite, sequence.prefix_cached = 0, False, False
        sequence.draft_finite = True

    def stats(self) -> PrefixStats:
        prefixes = self._prefixes
        return PrefixStats(self._queries, self._hits, len(prefixes), self._num_blocks, prefixes.evictions)

    def _find(self, sequence: Sequence) -> list[PrefixBlock]:
        """Never the whole sequence: its last position is computed for the logits."""
        return self._prefixes.find(sequence.cache_salt, sequence.ids(sequence.length - 1))
