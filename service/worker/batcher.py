"""When to encode: a full batch of one modality at once, a smaller one after a few milliseconds.

Requests that arrive together are encoded together, and nobody waits longer than `wait` for company.
"""

import time
from collections.abc import Callable, Container

from pandagpt_core.types import Modality


class Batcher:
    """Media names that wait to be encoded, by modality, oldest first; each name once."""

    def __init__(self, size: int, wait: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._wait, self._clock = size, wait, clock
        self._waiting: dict[Modality, dict[str, float]] = {}

    def add(self, modality: Modality, name: str) -> None:
        self._waiting.setdefault(modality, {}).setdefault(name, self._clock())

    def take(self, busy: Container[Modality] = ()) -> tuple[Modality, list[str]] | None:
        """The batch that is due and has waited longest, at most `size` of one modality that is not busy."""
        due = [
            (self._oldest(modality), modality)
            for modality, names in self._waiting.items()
            if modality not in busy and self._is_due(names)
        ]
        if not due:
            return None
        modality = min(due)[1]
        names = list(self._waiting[modality])[: self._size]
        for name in names:
            del self._waiting[modality][name]
        return modality, names

    def ripening(self, busy: Container[Modality] = ()) -> bool:
        """Whether anything waits that is due soon: of a modality that is not busy."""
        return any(names and modality not in busy for modality, names in self._waiting.items())

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _oldest(self, modality: Modality) -> float:
        return next(iter(self._waiting[modality].values()))

    def _is_due(self, names: dict[str, float]) -> bool:
        return len(names) >= self._size or (bool(names) and self._clock() - next(iter(names.values())) >= self._wait)
