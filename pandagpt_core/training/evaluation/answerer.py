"""The examined model: it answers about media and, where it can, embeds them, in process or behind HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pandagpt_core.types import Modality


@dataclass(frozen=True, slots=True)
class Held:
    """A medium as a caller would send it. A text of the shared space is one too."""

    modality: Modality
    data: bytes
    params: tuple[tuple[str, float | str], ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and the media it is about."""

    question: str
    media: tuple[Held, ...] = ()


class Answerer(Protocol):
    """Answers are greedy, so they can be had again."""

    name: str
    modalities: frozenset[Modality]

    def answer(self, asked: Sequence[Asked], tokens: int) -> list[str]:
        """One answer to each, of so many tokens at most."""
        ...

    def embed(self, media: Sequence[Held]) -> np.ndarray:
        """[N, E] unit vectors of the shared space, texts among them."""
        ...
