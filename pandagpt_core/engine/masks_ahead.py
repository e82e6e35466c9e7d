"""Masks of structured output, computed beside the model: on a thread of its own while the step's forward pass runs.

A mask depends on the tokens so far alone, not on the logits. The masks' library works without the interpreter's lock.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property

from pandagpt_core.engine.constraints import GrammarConstraint
from pandagpt_core.engine.sequence import ScheduledChunk


class MasksAhead:
    """For logits of `vocab` columns. The thread is there once a grammar is."""

    def __init__(self, vocab: int) -> None:
        self._vocab = vocab

    @contextmanager
    def computing(self, chunks: Iterable[ScheduledChunk]) -> Iterator[None]:
        """While the body runs, compute the masks of the chunks that reach their next token; then wait for them."""
        sampled = [chunk.sequence for chunk in chunks if chunk.samples]
        held = [one for sequence in sampled for one in sequence.constraints if isinstance(one, GrammarConstraint)]
        if not held:
            yield
            return
        computed = self._thread.submit(self._prepare, held)
        try:
            yield
        finally:
            computed.result()

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="masks")

    def _prepare(self, constraints: Sequence[GrammarConstraint]) -> None:
        for constraint in constraints:
            constraint.prepare(self._vocab)
