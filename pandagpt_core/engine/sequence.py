"""One sequence in the engine: its prompt, its tokens, the text they make and when it ends."""

from collections.abc import Sequence as Items
from dataclasses import dataclass, field

from pandagpt_core.engine.penalties import History
from pandagpt_core.engine.stops import StopMatcher
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.tokenizers.detokenizer import Detokenizer
from pandagpt_core.types import FinishReason, Priority, SamplingParams


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


@dataclass(eq=False, slots=True)
class Sequence:
    """`limit` is the number of tokens at which the answer ends as `length`; `ends` the ids that end it as `stop`.

    `computed` counts the positions whose keys and values are in the cache. `history` is kept only where a penalty
    asks for it. `proven` says that logits computed over the whole cache content were finite, `kept` that its prompt
    is in the prefix cache since. `root` names what changes its keys and values beside its ids. `arrival` numbers it
    in the queue. `displaced` says that it gave its place to another once.
    """

    id: str
    inputs: LLMInputs
    params: SamplingParams
    text: AnswerText
    limit: int
    ends: frozenset[int]
    history: History | None = None
    priority: Priority = "interactive"
    tokens: list[int] = field(default_factory=list)
    computed: int = 0
    proven: bool = False
    kept: bool = False
    root: bytes = b""
    arrival: int | None = None
    displaced: bool = False

    @property
    def prompt_length(self) -> int:
        return len(self.inputs.ids)

    @property
    def length(self) -> int:
        """Positions known so far: prompt and tokens."""
        return self.prompt_length + len(self.tokens)

    @property
    def unread(self) -> int:
        """Positions known whose keys and values are still to be computed."""
        return self.length - self.computed

    def ids(self, count: int) -> tuple[int, ...]:
        """The ids of the first `count` positions."""
        prompt = self.inputs.ids
        return prompt[:count] if count <= len(prompt) else (*prompt, *self.tokens[: count - len(prompt)])

    @property
    def longest(self) -> int:
        """Positions it may come to."""
        return self.prompt_length + self.limit

    def append(self, token_id: int) -> tuple[str, FinishReason | None]:
        """Take the next token: the text that may be shown now, and why the sequence ended, if it did."""
        self.tokens.append(token_id)
        if self.history is not None:
            self.history.count(token_id)
        if token_id in self.ends:
            return self.text.flush(), "stop"
        shown = self.text.push(token_id)
        if self.text.stopped:
            return shown, "stop"
        if len(self.tokens) >= self.limit:
            return shown + self.text.flush(), "length"
        return shown, None

    def replay(self, tokens: Items[int]) -> FinishReason | None:
        """Take tokens that an earlier attempt published; their text was shown then. The end, if they hold it."""
        for token_id in tokens:
            _, finished = self.append(token_id)
            if finished is not None:
                return finished
        return None


@dataclass(frozen=True, slots=True)
class Span:
    """What one step computes of one sequence: `count` positions from `start` on."""

    sequence: Sequence
    start: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.count

    @property
    def samples(self) -> bool:
        """Whether it reaches the last known position, so that the next token can be chosen."""
        return self.end == self.sequence.length
