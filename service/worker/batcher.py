"""What to encode next: of one modality all that waits, as far as a batch goes.

Nothing waits for company while its lane is free: requests that were taken together are encoded together, and what
arrives while a lane is busy gathers for its next batch. A medium alone is encoded at once.
"""

import itertools
from collections.abc import Container

from pandagpt_core.types import Modality


class Batcher:
    """Media names that wait to be encoded, by modality, oldest first; each name once."""

    def __init__(self, size: int) -> None:
        self._size, self._order = size, itertools.count()
        self._waiting: dict[Modality, dict[str, int]] = {}  # name -> its place in the order of arrival

    def add(self, modality: Modality, name: str) -> None:
        self._waiting.setdefault(modality, {}).setdefault(name, next(self._order))

    def take(self, busy: Container[Modality] = ()) -> tuple[Modality, list[str]] | None:
        """The batch that has waited longest, at most `size` of one modality that is not busy."""
        free = [(next(iter(names.values())), modality) for modality, names in self._waiting.items() if names]
        oldest = min((one for one in free if one[1] not in busy), default=None)
        if oldest is None:
            return None
        names = list(self._waiting[oldest[1]])[: self._size]
        for name in names:
            del self._waiting[oldest[1]][name]
        return oldest[1], names

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))
