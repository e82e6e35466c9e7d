"""One sequence in the engine: its prompt, its tokens, the text they make and when it ends."""

from collections.abc import Sequence as Items
from dataclasses import dataclass, field

from pandagpt_core.engine.constraints import TokenConstraint
from pandagpt_core.engine.penalties import History
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.tokenizers.detokenizer import Detokenizer
from pandagpt_core.types import FinishReason, Priority, SamplingParams


class StopMatcher:
    """Finds stop strings in streamed text, across token boundaries; no part of one is ever returned.

    `push` takes text and returns what may be shown. `stopped` is True once a stop string is complete. The string that
    is complete first wins; of two that are complete at once, the one that began first. So the result does not depend
    on how the text is cut into deltas. A tail that may yet become a stop string is held back.
    """

    def __init__(self, stops: Items[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        if not self._stops or self.stopped:
            return "" if self.stopped else text
        text = self._held + text
        cut = self._first_stop(text)
        if cut is not None:
            self.stopped, self._held = True, ""
            return text[:cut]
        keep = self._open_tail(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The held text, when no more text will come."""
        held, self._held = self._held, ""
        return held

    def _first_stop(self, text: str) -> int | None:
        """Index of the first complete stop string; None without one."""
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        return min(found)[1] if found else None

    def _open_tail(self, text: str) -> int:
        """Length of the longest tail that is the beginning of a stop string."""
        longest = min(len(text), max(map(len, self._stops)) - 1)
        return next((n for n in range(longest, 0, -1) if any(s.startswith(text[-n:]) for s in self._stops)), 0)


class AnswerText:
    """Tokens to text that may be shown: whole characters, and nothing of a stop string."""

    def __init__(self, detokenizer: Detokenizer, stops: Items[str]) -> None:
        self._detokenizer = detokenizer
        self._matcher = StopMatcher(stops)

    @property
    def stopped(self) -> bool:
        return self._matcher.stopped

    def push(self, token_id: int) -> str:
        return self._matcher.push(self._detokenizer.push(token_id))

    def flush(self) -> str:
        return self._matcher.push(self._detokenizer.flush()) + self._matcher.flush()


@dataclass(frozen=True, slots=True)
class CacheSalt:
    """Sequences share a block only if these are equal.

    content: changes keys and values. tenant: the one that may find the block; "" shares it with all. The first
    `num_public` positions are the template's words, the same for all, and are shared whatever the tenant.
    """

    content: bytes = b""
    tenant: str = ""
    num_public: int = 0


@dataclass(eq=False, slots=True)
class Sequence:
    """A prompt and the tokens generated so far.

    max_tokens: the answer ends as `length` at this number of tokens. stop_token_ids: each ends it as `stop`.
    history: token counts, only where a penalty needs them.
    num_computed_tokens: positions whose keys and values are in the cache.
    logits_finite: logits computed over the whole content of its cache were finite.
    draft_finite: so were those over drafts, which lie in the cache behind its positions.
    prefix_cached: since then, its prompt was put into the prefix cache.
    cache_salt: with whom it shares prefixes, beside equal ids.
    arrival: its number in the queue, given once. preempted_for_priority: it has given its place to an interactive
    sequence; that happens once at most.
    """

    id: str
    inputs: LLMInputs
    params: SamplingParams
    text: AnswerText
    max_tokens: int
    stop_token_ids: frozenset[int]
    history: History | None = None
    constraints: tuple[TokenConstraint, ...] = ()
    priority: Priority = "interactive"
    tokens: list[int] = field(default_factory=list)
    num_computed_tokens: int = 0
    logits_finite: bool = False
    draft_finite: bool = True
    prefix_cached: bool = False
    cache_salt: CacheSalt = field(default_factory=CacheSalt)
    arrival: int | None = None
    preempted_for_priority: bool = False

    @property
    def prompt_length(self) -> int:
        return len(self.inputs.ids)

    @property
    def length(self) -> int:
        """Positions known so far: prompt and tokens."""
        return self.prompt_length + len(self.tokens)

    @property
    def num_uncomputed_tokens(self) -> int:
        """Known positions whose keys and values are still to be computed."""
        return self.length - self.num_computed_tokens

    @property
    def max_length(self) -> int:
        """The largest number of positions that it can have."""
        return self.prompt_length + self.max_tokens

    def ids(self, count: int) -> tuple[int, ...]:
        """The ids of the first `count` positions."""
        prompt = self.inputs.ids
        return prompt[:count] if count <= len(prompt) else (*prompt, *self.tokens[: count - len(prompt)])

    def append(self, token_id: int) -> tuple[str, FinishReason | None]:
        """Add the next token. Returns the text that may be shown now, and why the sequence ended, if it did."""
        self.tokens.append(token_id)
        if self.history is not None:
            self.history.count(token_id)
        for constraint in self.constraints:
            constraint.consume(token_id)
        if token_id in self.stop_token_ids:
            return self.text.flush(), "stop"
        shown = self.text.push(token_id)
        if self.text.stopped:
            return shown, "stop"
        if len(self.tokens) >= self.max_tokens:
            return shown + self.text.flush(), "length"
        return shown, None

    def replay(self, tokens: Items[int]) -> FinishReason | None:
        """Add tokens that an earlier attempt published; their text was shown then. Returns the end, if they hold it."""
        for token_id in tokens:
            _, finished = self.append(token_id)
            if finished is not None:
                return finished
        return None


@dataclass(frozen=True, slots=True)
class ScheduledChunk:
    """The positions of one sequence that a step computes: `count` from `start` on, and behind them a `draft` of tokens
    that the answer may have next."""

    sequence: Sequence
    start: int
    count: int
    draft: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        return self.start + self.count

    @property
    def rows(self) -> int:
        return self.count + len(self.draft)

    @property
    def asked(self) -> int:
        """The number of its last rows after which logits are wanted."""
        return 1 + len(self.draft) if self.samples else 0

    @property
    def samples(self) -> bool:
        """Whether it reaches the last known position, so that the next token can be sampled."""
        return self.end == self.sequence.length
