"""The interface of an engine: the one of this package, or another library's."""

from typing import Protocol

from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.interface import Admitted, EngineStats
from pandagpt_core.types import TokenOutput


class TokenEngine(Protocol):
    """One loop adds, steps and aborts. `tests/engine/test_contract.py` runs against every engine."""

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together."""
        ...

    def add(self, request: EngineRequest) -> Admitted:
        """Queue a sequence. Raises ContextLengthExceeded, EngineError for a bad prompt, EngineDead."""
        ...

    def step(self) -> list[TokenOutput]:
        """The next tokens, an output for each. Raises EngineDead when no token will ever follow."""
        ...

    def abort(self, sequence_id: str) -> None:
        """Forget a sequence; no output follows. An unknown id is no error."""
        ...

    @property
    def has_work(self) -> bool:
        """Whether `step` has a result: outputs to come, or the engine's death."""
        ...

    def stats(self) -> EngineStats: ...

    def close(self) -> None:
        """Free all resources, processes included. A second call does nothing."""
        ...
