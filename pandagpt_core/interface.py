"""The interface of a loaded model to the process that serves it. No torch: numpy arrays and plain types cross it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pandagpt_core.types import (
    NOTHING_FOUND,
    Conversation,
    Fields,
    FinishReason,
    Found,
    Modality,
    ModelInfo,
    Priority,
    SamplingParams,
    TokenOutput,
)

PlainPrompt = str | Sequence[int]  # text, or token ids


@dataclass(frozen=True, slots=True)
class PromptToken:
    """A token of a prompt: its own bytes, and its log probability after those before it; None for the first token, and
    where none was asked for. `top`: the likeliest tokens there, as (id, bytes, log probability)."""

    token_id: int
    piece: bytes
    logprob: float | None = None
    top: tuple[tuple[int, bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class SequenceRequest:
    """One sequence to generate.

    prompt: continued as it stands, in place of the conversation.

    embeddings: one [n, E] array for each of `conversation.media`, in order.
    resume: token ids that an earlier attempt published; they are read as a prefix and not given out again.
    found: by `ServedModel.look_up`; without it admission does the search.
    tenant: the cached prefixes of its prompt are shared with this tenant's other sequences; "" with everyone's.
    """

    id: str
    conversation: Conversation
    embeddings: Sequence[np.ndarray]
    params: SamplingParams
    resume: Sequence[int] = ()
    priority: Priority = "interactive"
    tenant: str = ""
    prompt: PlainPrompt | None = None
    found: Found = field(default_factory=lambda: NOTHING_FOUND)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A sequence that the engine has taken. `cached_tokens` of the prompt, at least, need no computing.

    `finished` is set where the resumed tokens are the whole answer already: nothing runs and no output follows.
    `fields` are facts about the prompt for the answer's fields, beside those that `parse` reads out of its text.
    """

    prompt_tokens: int
    cached_tokens: int = 0
    finished: FinishReason | None = None
    fields: Fields | None = None


@dataclass(frozen=True, slots=True)
class PrefixStats:
    """Tokens looked up and found in the prefix cache since the start; its blocks, and how many were evicted."""

    queries: int
    hits: int
    blocks_used: int
    blocks_total: int
    evictions: int


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Load of the engine; blocks are those that running sequences reserve. Of the tokens `drafted` so far, `accepted`
    were the answer's."""

    running: int
    waiting: int
    kv_blocks_used: int
    kv_blocks_total: int
    num_preemptions: int
    prefix: PrefixStats
    drafted: int = 0
    accepted: int = 0


class ServedModel(Protocol):
    """A model system and an engine joined; `pandagpt_core.runtime.Runtime` is the real one.

    One loop admits, steps and aborts. `encode` and `unit` may be called by other threads meanwhile.
    """

    @property
    def info(self) -> ModelInfo: ...

    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Recipe arrays of one modality in, [n, E] float32 or float16 for each out. Raises UnsupportedModality."""
        ...

    def unit(self, modality: Modality, embedding: np.ndarray) -> np.ndarray:
        """An embedding [n, E] as the unit vector [E] float32 that /v1/embeddings answers."""
        ...

    def look_up(self, request: SequenceRequest) -> Iterator[Found | None]:
        """Search a large cache of the model as admission would: None before each piece of the search, and the result
        last. A piece is so short that others may be served between. Raises what `admit` raises."""
        ...

    def admit(self, request: SequenceRequest) -> Admitted:
        """Queue a sequence; its tokens come from later steps.

        Raises ContextLengthExceeded, UnsupportedModality, InvalidRequest, EngineDead; then nothing was queued.
        """
        ...

    def step(self) -> Sequence[TokenOutput]:
        """One engine step over the whole batch. Raises EngineDead when no token will ever follow."""
        ...

    def abort(self, sequence_id: str) -> None:
        """Forget a sequence and free its memory; no output follows. An unknown id is no error."""
        ...

    def parse(self, text: str) -> Fields | None:
        """The structured fields of a whole answer; None for a system whose answers are plain text."""
        ...

    def tokenize(self, prompt: PlainPrompt | Conversation, special: bool = True) -> list[int]:
        """The token ids that the language model reads of a prompt; `special`: with the beginning that text gets.

        Raises ContextLengthExceeded, InvalidRequest.
        """
        ...

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of token ids; control tokens have none. Raises InvalidRequest for an id beyond the vocabulary."""
        ...

    def prompt_tokens(self, prompt: PlainPrompt, top: int | None) -> Iterator[Sequence[PromptToken]]:
        """A prompt's tokens in lists, with `top` their log probabilities and so many alternatives.

        Each list is computed as it is drawn, and holds so few tokens that others may be served between.
        Raises ContextLengthExceeded, InvalidRequest, as the first list is drawn.
        """
        ...

    def check_explains(self, request: SequenceRequest) -> None:
        """Raises InvalidRequest where `explain` cannot serve a request, and all that reading its prompt may raise."""
        ...

    def explain(self, request: SequenceRequest, answer: Sequence[int]) -> Iterator[Fields | None]:
        """Compute the share of each medium in the answer's tokens: None after each piece of the computing, and the
        answer's fields last. A piece is so short that others may be served between."""
        ...

    @property
    def has_work(self) -> bool: ...

    def stats(self) -> EngineStats: ...

    def close(self) -> None:
        """Free what the engine holds beyond memory: another engine's processes."""
        ...
