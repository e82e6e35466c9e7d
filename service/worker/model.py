"""What the worker asks of a model: the runtime's interface, so that this package loads without torch."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pandagpt_core.types import Conversation, FinishReason, Modality, ModelInfo, Priority, SamplingParams, TokenOutput


class Admitted(Protocol):
    """A sequence the engine has taken: the prompt's length and how much of it was in the prefix cache.

    `finished` is set where the resumed tokens were the whole answer already; no output follows then.
    """

    @property
    def prompt_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...
    @property
    def finished(self) -> FinishReason | None: ...


class Prefix(Protocol):
    """The prefix cache: tokens asked for and found since the start, blocks evicted since then and in use now."""

    @property
    def asked(self) -> int: ...
    @property
    def hits(self) -> int: ...
    @property
    def evicted(self) -> int: ...
    @property
    def blocks_used(self) -> int: ...
    @property
    def blocks_total(self) -> int: ...


class Stats(Protocol):
    """How full the engine is. `put_out` counts sequences put out for want of memory or for interactive ones."""

    @property
    def kv_blocks_used(self) -> int: ...
    @property
    def kv_blocks_total(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def put_out(self) -> int: ...
    @property
    def prefix(self) -> Prefix: ...


class Runtime(Protocol):
    """A model system and an engine joined (`pandagpt_core.runtime.Runtime`)."""

    @property
    def info(self) -> ModelInfo: ...

    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """One [E] float32 embedding for each array of one modality. Called beside the loop, by a thread a modality."""
        ...

    def unit(self, modality: Modality, embedding: np.ndarray) -> np.ndarray:
        """The embedding as [E] float32 of norm 1."""
        ...

    def admit(
        self,
        sequence_id: str,
        conversation: Conversation,
        embeddings: Sequence[np.ndarray],
        params: SamplingParams,
        resume: Sequence[int] = (),
        priority: Priority = "interactive",
    ) -> Admitted:
        """Queue a sequence. `resume` are tokens already published: fed as prefix, not emitted again."""
        ...

    def step(self) -> Sequence[TokenOutput]:
        """One engine step over the whole batch. Raises EngineDead when it is the engine's last."""
        ...

    def abort(self, sequence_id: str) -> None:
        """Forget a sequence and free its memory; unknown ids are fine."""
        ...

    @property
    def has_work(self) -> bool: ...

    def stats(self) -> Stats: ...

    def close(self) -> None:
        """Free what the engine holds beyond memory."""
        ...
