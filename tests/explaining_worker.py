"""A worker that stands still in the middle of an explanation and writes `explaining`, so that it can be killed there.

`python -m tests.explaining_worker` runs it as a process.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pandagpt_core.interface import SequenceRequest
from pandagpt_core.types import Fields
from tests import fakes

PIECE = 3  # of all explanations, the one that it never gets past


@dataclass
class HeldExplaining(fakes.FakeRuntime):
    def explain(self, request: SequenceRequest, answer: Sequence[int]) -> Iterator[Fields | None]:
        for piece in super().explain(request, answer):
            if self.explained == PIECE:
                print("explaining", flush=True)  # noqa: T201  the parent waits for it
                threading.Event().wait()
            yield piece


if __name__ == "__main__":
    fakes.main(HeldExplaining)
