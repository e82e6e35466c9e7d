"""Context text to CLIP token ids [1, 77] (Radford et al. 2021, section 2.4), for a text tower, not for a prompt."""

import gzip
import heapq
import html
import json
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import ftfy
import numpy as np
import numpy.typing as npt
import regex

from pandagpt_core.errors import InvalidMedia, UnsupportedModality
from pandagpt_core.media import params as p
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.notes import warn
from pandagpt_core.modalities import Selection

CONTEXT = 77
WINDOW = CONTEXT - 2  # tokens between the two markers
_CUT = Selection("cut", "what of a long text is left out", ("none", "start", "end", "windows"))
START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
_GONE = -1  # a piece that was joined to the one before it
_MERGES = 49152 - 256 - 2
_WORDS = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)
_PACKAGE, _FILE = "open_clip", "bpe_simple_vocab_16e6.txt.gz"


def clip_bpe(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.int64]:
    """Start, the text's ids, end, zeros up to 77. Text too long is cut so that the end token stays.

    The text tower pools at the highest id, which is the end token's; older copies of the tokenizer cut it off and so
    pooled anywhere. The two marker strings are read as markers wherever they stand, as in every published copy.
    """
    p.only(params)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidMedia("the text is not UTF-8") from error
    check(len(text), limits.characters, "the text", "characters")
    ids: list[int] = []
    for word in _WORDS.findall(clean(text)):
        ids += _vocabulary().encode(word)
        if len(ids) > WINDOW:
            warn(f"the text is longer than the {WINDOW} tokens that the tower reads; its end is not read")
            break
    return _rows([ids[:WINDOW]])


def clip_bpe_batch(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.int64]:
    """Many texts at once, each cut by the caller's choice: [M, 3 + 77] rows of a text's index, how many tokens the text
    has, how many of them are in the row, and the row of `clip_bpe`.

    data: a JSON list of texts and of lists of token ids. `cut` is "start" or "end" to leave out that part of a long
    text; "windows" for all of it in rows of its own; "none" to leave out its end, which the counts show.
    """
    p.only(params, (_CUT.name,))
    cut = p.choice(params, _CUT)
    rows: list[tuple[int, int, list[int]]] = []
    for index, given in enumerate(_texts(data)):
        ids = _ids_of(given, index, limits)
        rows += [(index, len(ids), window) for window in _windows(ids, cut)]
    counts = np.array([(index, total, len(window)) for index, total, window in rows], dtype=np.int64)
    return np.hstack([counts, _rows([window for _, _, window in rows])])


def _texts(data: bytes) -> list[str | list[int]]:
    found = json.loads(data)
    if not isinstance(found, list) or not found:
        raise InvalidMedia("no texts")
    return found


def _ids_of(given: str | list[int], index: int, limits: Limits) -> list[int]:
    """A text's ids, or the given ones without the markers around them."""
    if isinstance(given, str):
        check(len(given), limits.characters, f"the text at {index}", "characters")
        return [token for word in _WORDS.findall(clean(given)) for token in _vocabulary().encode(word)]
    known = _vocabulary().size
    if unknown := [token for token in given if not 0 <= token < known]:
        words = f"the token id {unknown[0]} is outside of the vocabulary of {known}"
        raise InvalidMedia(words, param=f"[{index}]")
    start, end = _vocabulary().start, _vocabulary().end
    given = given[1:] if given[:1] == [start] else given
    return given[: given.index(end)] if end in given else given


def _windows(ids: list[int], cut: str) -> list[list[int]]:
    if cut == "start":
        return [ids[-WINDOW:]]
    if cut == "windows":
        return [ids[at : at + WINDOW] for at in range(0, max(1, len(ids)), WINDOW)]
    return [ids[:WINDOW]]


def _rows(windows: list[list[int]]) -> npt.NDArray[np.int64]:
    """[M, 77]: start, the ids, end, zeros."""
    start, end = _vocabulary().start, _vocabulary().end
    rows = np.zeros((len(windows), CONTEXT), dtype=np.int64)
    for row, ids in zip(rows, windows, strict=True):
        row[: len(ids) + 2] = [start, *ids, end]
    return rows


def clean(text: str) -> str:
    """Mojibake mended, HTML entities resolved twice over, whitespace single, lower case."""
    mended = html.unescape(html.unescape(ftfy.fix_text(text)))
    return regex.sub(r"\s+", " ", mended.strip()).strip().lower()


class Vocabulary:
    """CLIP's merges and the ids they imply, in flat arrays: as dictionaries of strings they took 16 MB of each decoding
    child. The pairs lie in order: a left piece's from `_begins` on, by the right piece."""

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        letters = byte_letters()
        pieces = [*letters.values(), *(letter + _WORD_END for letter in letters.values())]
        pieces += [left + right for left, right in merges] + [START, END]
        ids = {piece: index for index, piece in enumerate(pieces)}
        self.size, self.start, self.end = len(ids), ids[START], ids[END]
        self._letters = {byte: ids[letter] for byte, letter in letters.items()}
        self._last_letters = {byte: ids[letter + _WORD_END] for byte, letter in letters.items()}
        lefts, rights = (np.array([ids[pair[side]] for pair in merges], dtype=np.int64) for side in (0, 1))
        order = np.lexsort((rights, lefts))
        self._begins = _flat(np.searchsorted(lefts[order], np.arange(len(pieces) + 1)))
        self._rights, self._ranks = _flat(rights[order]), _flat(order)
        self._joined = array("q", [ids[left + right] for left, right in merges])

    def encode(self, word: str) -> list[int]:
        if word in (START, END):
            return [self.start if word == START else self.end]
        *others, last = word.encode("utf-8")
        return self._merge([*(self._letters[byte] for byte in others), self._last_letters[last]])

    def _merge(self, pieces: list[int]) -> list[int]:
        """Join the best-ranked neighbours, leftmost first, until none is left.

        A heap over a linked list: n log n in the word's length, where rescanning the word is quadratic and one long
        word would hold a core.
        """
        following = [*range(1, len(pieces)), -1]
        preceding = list(range(-1, len(pieces) - 1))
        ranks = [self._rank(left, right) for left, right in pairwise(pieces)]
        heap = [(rank, at) for at, rank in enumerate(ranks) if rank >= 0]
        heapq.heapify(heap)
        while heap:
            rank, left = heapq.heappop(heap)
            right = following[left]
            if right < 0 or self._rank(pieces[left], pieces[right]) != rank:
                continue  # one of the two has been joined to another since
            pieces[left], pieces[right] = self._joined[rank], _GONE
            after = following[left] = following[right]
            following[right] = -1
            if after >= 0:
                preceding[after] = left
            for start in (preceding[left], left):
                self._push(heap, pieces, following, start)
        return [piece for piece in pieces if piece != _GONE]

    def _push(self, heap: list[tuple[int, int]], pieces: list[int], following: list[int], left: int) -> None:
        if left >= 0 and following[left] >= 0:
            rank = self._rank(pieces[left], pieces[following[left]])
            if rank >= 0:
                heapq.heappush(heap, (rank, left))

    def _rank(self, left: int, right: int) -> int:
        """-1 for pieces that are never joined."""
        end = self._begins[left + 1]
        at = bisect_left(self._rights, right, self._begins[left], end)
        return self._ranks[at] if at < end and self._rights[at] == right else -1


def _flat(numbers: npt.NDArray[np.int64]) -> "array[int]":
    """The numbers as Python's, which are faster to read one by one than numpy's."""
    return array("q", numbers.astype(np.int64).tobytes())


def byte_letters() -> dict[int, str]:
    """A letter for each byte, in the vocabulary's order: printable Latin-1 as itself, the rest from code 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + index) for index, byte in enumerate(others)}


@lru_cache(maxsize=1)
def _vocabulary() -> Vocabulary:
    lines = gzip.decompress(_vocabulary_file().read_bytes()).decode("utf-8").split("\n")
    pairs = (line.split() for line in lines[1 : _MERGES + 1])
    return Vocabulary([(left, right) for left, right in pairs])


def _vocabulary_file() -> Path:
    """Path of the published vocabulary in open_clip; found without importing that package, which imports torch."""
    spec = find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / _FILE
        if file.is_file():
            return file
    raise UnsupportedModality(f"context text needs CLIP's vocabulary, which the package {_PACKAGE} brings")
