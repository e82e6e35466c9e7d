"""The child's half of the pipe between the harness and a contestant: one JSON line a message. Standard library only.

A child writes {"ready": {...facts}} or {"absent": "reason"} once. Then for each job, {"prompts": [[id, ...], ...],
"new": n}, it answers {"arrivals": [[seconds, ...], ...], "ids": [[id, ...], ...]} or {"error": "..."}.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TextIO


class Stepping(Protocol):
    """Our engine, or the model that holds it."""

    @property
    def has_work(self) -> bool: ...
    def step(self) -> Sequence[Any]: ...


@dataclass
class TokenTimes:
    """Fills with what each request's tokens are and when they came, in seconds from its making."""

    count: int
    start: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.arrivals: list[list[float]] = [[] for _ in range(self.count)]
        self.ids: list[list[int]] = [[] for _ in range(self.count)]

    def add(self, request: int, tokens: Sequence[int]) -> None:
        now = time.perf_counter() - self.start
        self.arrivals[request] += [now] * len(tokens)
        self.ids[request] += tokens

    def drain(self, engine: Stepping) -> Self:
        """Step to the last token; a sequence's id is its request's number. Raises RuntimeError where one fails."""
        while engine.has_work:
            for output in engine.step():
                if output.error:
                    raise RuntimeError(output.error)
                self.add(int(output.sequence_id), [output.token_id])
        return self


Generate = Callable[[Sequence[Sequence[int]], int], TokenTimes]


def answer_jobs(load: Callable[[dict[str, Any]], tuple[Generate, dict[str, Any]]]) -> None:
    """Load with the settings of the first command-line argument (JSON), then answer jobs until the pipe closes."""
    channel = _own_stdout()
    try:
        generate, facts = load(json.loads(sys.argv[1]))
    except ImportError as error:
        _say(channel, {"absent": f"cannot import {error.name or error}"})
        return
    _say(channel, {"ready": facts})
    for line in sys.stdin:
        job = json.loads(line)
        try:
            record = generate(job["prompts"], job["new"])
            _say(channel, {"arrivals": record.arrivals, "ids": record.ids})
        except Exception as error:  # noqa: BLE001 - whatever a library raises is one failed run for the harness
            traceback.print_exc()
            _say(channel, {"error": f"{type(error).__name__}: {error}"})


def _own_stdout() -> TextIO:
    """The real standard output for messages; libraries print to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _say(channel: TextIO, message: dict[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()
