"""The times of words, from the alignment of tokens and frames that Whisper's attention gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ALIGNED_FRAMES = 2  # features a step of the encoder
_APART = frozenset({"zh", "ja", "th", "lo", "my", "yue"})  # written without spaces: a word is a character


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
