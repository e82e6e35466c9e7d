"""Times of what Whisper writes of a window: of segments, by the timestamps among its tokens, and of words.

A segment stands between two timestamps (Radford et al. 2023, section 2.3). A last one without its end was cut by the
window: the next window begins where it does. Times of words come from the alignment of tokens and frames that the
model's attention gives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pandagpt_core.speech.base import WINDOW_FRAMES

STAMP_FRAMES = 2  # a timestamp's step: 20 ms
ALIGNED_FRAMES = 2  # features a step of the encoder
_APART = frozenset({"zh", "ja", "th", "lo", "my", "yue"})  # written without spaces: a word is a character


@dataclass(frozen=True, slots=True)
class StampedSegment:
    """Frames from the window's start."""

    start: int
    end: int
    tokens: tuple[int, ...]


def split(tokens: Sequence[int], first_stamp: int, frames: int) -> tuple[list[StampedSegment], int]:
    """The segments of a window of so many frames, and the frames after which the next window begins.

    tokens: a window's, without its end; those from `first_stamp` on are times in steps of 20 ms.
    """
    stamps = [at for at, token in enumerate(tokens) if token >= first_stamp]
    pairs = [after for before, after in pairwise(stamps) if after == before + 1]
    ended = len(stamps) > 0 and stamps[-1] == len(tokens) - 1 and (len(stamps) < 2 or stamps[-2] != stamps[-1] - 1)
    if not pairs:
        last = _frame(tokens[stamps[-1]], first_stamp) if stamps else 0
        first = _frame(tokens[stamps[0]], first_stamp) if len(stamps) > 1 else 0
        whole = _segment(first, last or frames, tokens, first_stamp)
        return ([whole] if whole.tokens else []), frames
    cuts = [*pairs, len(tokens)] if ended else pairs
    segments = [_stamped(tokens[start:end], first_stamp) for start, end in zip([0, *cuts[:-1]], cuts, strict=True)]
    follow = frames if ended else _frame(tokens[cuts[-1] - 1], first_stamp)
    return [one for one in segments if one.tokens], min(follow, frames) or frames


def _stamped(tokens: Sequence[int], first_stamp: int) -> StampedSegment:
    return _segment(_frame(tokens[0], first_stamp), _frame(tokens[-1], first_stamp), tokens, first_stamp)


def _segment(start: int, end: int, tokens: Sequence[int], first_stamp: int) -> StampedSegment:
    return StampedSegment(start, max(start, end), tuple(token for token in tokens if token < first_stamp))


def _frame(token: int, first_stamp: int) -> int:
    return min(max(token - first_stamp, 0) * STAMP_FRAMES, WINDOW_FRAMES)


@dataclass(frozen=True, slots=True)
class WordTokens:
    """A word's text, and its tokens as a range of the segment's."""

    text: str
    start: int
    end: int


def words_of(tokens: Sequence[int], decode: Callable[[Sequence[int]], str], language: str) -> list[WordTokens]:
    """Whole characters first, then joined up to the next space; a mark belongs to the word before it."""
    pieces: list[WordTokens] = []
    begin = 0
    for end in range(1, len(tokens) + 1):
        text = decode(tokens[begin:end])
        if "\ufffd" not in text or end == len(tokens):
            pieces.append(WordTokens(text, begin, end))
            begin = end
    words: list[WordTokens] = []
    for piece in pieces:
        begins = piece.text.startswith(" ") or (language in _APART and any(map(str.isalnum, piece.text)))
        if words and not (begins and any(map(str.isalnum, piece.text))):
            last = words.pop()
            piece = WordTokens(last.text + piece.text, last.start, piece.end)
        words.append(piece)
    return words


def token_frames(alignments: Sequence[tuple[int, int]], count: int) -> list[int]:
    """[count + 1]: the frame at which each of so many tokens begins, and where the last one ends."""
    first: dict[int, int] = {}
    for token, step in alignments:
        first.setdefault(token, step * ALIGNED_FRAMES)
    last = max((step for _, step in alignments), default=0) * ALIGNED_FRAMES + ALIGNED_FRAMES
    starts = [first.get(token, last) for token in range(count)]
    return [*starts, first.get(count, last)]
