"""The interface of a contestant to the harness."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from benchmarks.lib.stats import Run


class Contestant(Protocol):
    """One engine or server in one setting, in processes of its own."""

    name: str
    through: str  # "pipe" or "HTTP"

    def start(self) -> Mapping[str, Any]:
        """Load, and say what is worth knowing (version, precision). Raises Absent."""
        ...

    def generate(self, prompts: Sequence[Sequence[int]], new: int) -> Run:
        """Answer all prompts at once, greedily, each with `new` tokens. Raises RunFailed."""
        ...

    def pids(self) -> list[int]:
        """Ids of the contestant's processes, empty when it does not run."""
        ...

    def stop(self) -> None: ...


class RunFailed(Exception):
    """A run that gave no figures; the message gives the reason."""
