"""Which conversations a step learns from: a function of (seed, step) alone, so that nothing of it need be saved.

Epochs follow one another without a gap: a step's batch may reach from one into the next, and the last step is filled
from an epoch that is begun for it. Every conversation is seen at least as often as there are epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pandagpt_core.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Order:
    """`count` conversations in batches of `batch`; each epoch in an order of its own."""

    count: int
    batch: int
    seed: int

    def steps(self, epochs: int) -> int:
        return -(-epochs * self.count // self.batch)

    def of_step(self, step: int) -> list[int]:
        """The indices of the step's batch; steps count from 0."""
        places = range(step * self.batch, (step + 1) * self.batch)
        return [int(_shuffled(self.count, self.seed, place // self.count)[place % self.count]) for place in places]

    def epoch(self, step: int) -> float:
        """How often every conversation was seen, on average, before this step."""
        return step * self.batch / self.count


@dataclass(frozen=True, slots=True)
class Division:
    """A batch over processes, and each one's share over micro-batches. Raises InvalidRequest if it does not divide."""

    batch: int
    micro: int
    processes: int

    def __post_init__(self) -> None:
        if self.batch % (self.micro * self.processes):
            raise InvalidRequest(
                f"train.batch is {self.batch}; {self.processes} processes with a train.micro_batch of {self.micro} "
                f"need a multiple of {self.micro * self.processes}"
            )

    @property
    def accumulated(self) -> int:
        """Micro-batches that a process goes through in one step."""
        return self.batch // (self.micro * self.processes)

    def mine(self, batch: Sequence[int], process: int) -> list[Sequence[int]]:
        """The micro-batches of one process."""
        share = self.batch // self.processes
        own = batch[process * share : (process + 1) * share]
        return [own[at : at + self.micro] for at in range(0, share, self.micro)]


@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)
