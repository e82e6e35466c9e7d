"""The conversations of a step: a function of (seed, step) alone, so that nothing of it need be saved.

Epochs follow one another without a gap: a step's batch may reach from one into the next, and the last step is filled
from an epoch that is begun for it. Every conversation is seen at least as often as there are epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pandagpt_core.errors import InvalidRequest

PERIOD = 1000  # draws over which stated ratios hold exactly


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
        """Number of times that a conversation was seen, on average, before this step."""
        return step * self.batch / self.count


@dataclass(frozen=True, slots=True)
class MixedOrder:
    """Several sets of conversations, each a stated share of every `PERIOD` drawn, for any size of the set.

    members: the indices of each set. ratios: of any sum. Raises InvalidRequest for an empty set with a share.
    """

    members: tuple[tuple[int, ...], ...]
    ratios: tuple[float, ...]
    batch: int
    seed: int

    def __post_init__(self) -> None:
        for at, (members, ratio) in enumerate(zip(self.members, self.ratios, strict=True)):
            if ratio and not members:
                raise InvalidRequest(f"data.ratios gives file {at} a share of {ratio}, and it has no conversation")

    def steps(self, epochs: int) -> int:
        """So many that as much is drawn as all sets hold together."""
        return -(-epochs * sum(map(len, self.members)) // self.batch)

    def of_step(self, step: int) -> list[int]:
        return [self._of_place(place) for place in range(step * self.batch, (step + 1) * self.batch)]

    def epoch(self, step: int) -> float:
        return step * self.batch / sum(map(len, self.members))

    def _of_place(self, place: int) -> int:
        """The set by the period's shuffled shares; in the set, the next of its own shuffled epochs."""
        shares = _shares(self.ratios)
        period, within = divmod(place, PERIOD)
        drawn = _shuffled_sets(shares, self.seed, period)
        chosen = int(drawn[within])
        before = period * shares[chosen] + int((drawn[:within] == chosen).sum())
        members = self.members[chosen]
        order = _shuffled(len(members), self.seed + 1 + chosen, before // len(members))
        return members[int(order[before % len(members)])]


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


@lru_cache(maxsize=8)
def _shares(ratios: tuple[float, ...]) -> tuple[int, ...]:
    """Whole draws of a period for each ratio, by largest remainders."""
    exact = [PERIOD * ratio / sum(ratios) for ratio in ratios]
    shares = [int(one) for one in exact]
    for at in sorted(range(len(exact)), key=lambda at: shares[at] - exact[at])[: PERIOD - sum(shares)]:
        shares[at] += 1
    return tuple(shares)


@lru_cache(maxsize=4)
def _shuffled_sets(shares: tuple[int, ...], seed: int, period: int) -> np.ndarray:
    return np.random.default_rng((seed, period)).permutation(np.repeat(np.arange(len(shares)), shares))


@lru_cache(maxsize=32)
def _shuffled(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)
