"""What a runtime asks of an engine: the one of this package, or another library's behind the same face."""

from collections.abc import Sequence as Items
from typing import Protocol

from pandagpt_core.interface import Admitted, EngineStats
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.types import Priority, SamplingParams, TokenOutput


class TokenEngine(Protocol):
    """One loop adds, steps and aborts. `tests/engine/test_contract.py` holds every engine to this."""

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together."""
        ...

    def add(
        self,
        sequence_id: str,
        inputs: LLMInputs,
        params: SamplingParams,
        resume: Items[int] = (),
        priority: Priority = "interactive",
    ) -> Admitted:
        """Queue a sequence. Raises ContextLengthExceeded, EngineError for a bad prompt, EngineDead."""
        ...

    def step(self) -> list[TokenOutput]:
        """The next tokens; an output for each. Raises EngineDead when nothing will ever come again."""
        ...

    def abort(self, sequence_id: str) -> None:
        """Forget a sequence; no output follows. An unknown id is no error."""
        ...

    @property
    def has_work(self) -> bool:
        """Whether `step` has something to say: an output to come, or that the engine is dead."""
        ...

    def stats(self) -> EngineStats: ...

    def close(self) -> None:
        """Free what it holds, processes included. Once is enough, more is fine."""
        ...
