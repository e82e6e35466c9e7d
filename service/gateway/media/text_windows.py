"""Texts for the text tower: many at once in a decoding child, with their true counts of tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from pandagpt_core.modalities import MODALITIES
from service.gateway.decoding.pool import DecodePools
from service.gateway.errors import GatewayError

Cut = Literal["none", "start", "end", "windows"]
TextOrIds = str | tuple[int, ...]  # or token ids of the tower
MARKERS = 2  # tokens around each window
JOB_TEXTS, JOB_CHARS = 256, 50_000  # of one job of a child: a fraction of a second
_HEAD = 3  # columns of a row before its ids


@dataclass(frozen=True, slots=True)
class TextWindow:
    """A part of a text that the tower reads at once: `ids` [1, T], `tokens` of them without padding, of `total`."""

    text: int
    total: int
    tokens: int
    ids: np.ndarray

    @property
    def is_whole(self) -> bool:
        return self.total + MARKERS == self.tokens


async def text_windows(
    pool: DecodePools, recipe: str, texts: Sequence[TextOrIds], cut: Cut, share: str
) -> list[TextWindow]:
    """The windows of all texts in order; `cut` is what of a long text is left out. Raises `invalid_media`."""
    tool = next((one.batch for one in MODALITIES["text"].recipes if one.name == recipe), "")
    if not tool:
        raise GatewayError("invalid_request", "The model's text tower takes no texts here.", param="model")
    windows: list[TextWindow] = []
    for start, end in _jobs(texts):
        rows = await pool.decode(tool, msgspec.json.encode(texts[start:end]), {"cut": cut}, share)
        windows += [_window(start, row) for row in rows]
    return windows


def _window(start: int, row: np.ndarray) -> TextWindow:
    index, total, tokens = (int(number) for number in row[:_HEAD])
    return TextWindow(start + index, total, tokens + MARKERS, row[None, _HEAD:])


def _jobs(texts: Sequence[TextOrIds]) -> Iterator[tuple[int, int]]:
    start = chars = 0
    for at, text in enumerate(texts):
        if at > start and (at - start >= JOB_TEXTS or chars + len(text) > JOB_CHARS):
            yield start, at
            start, chars = at, 0
        chars += len(text)
    if texts:
        yield start, len(texts)
