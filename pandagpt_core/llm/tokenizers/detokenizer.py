"""Token ids to text, one id at a time: incomplete UTF-8 is held back until it is whole or can no longer be."""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PieceTable:
    """The bytes each token id stands for; control tokens and ids beyond the vocabulary stand for none.

    `strips_space`: the vocabulary marks word starts by a leading space and writes one before the first word, which is
    dropped again from decoded text (sentencepiece's dummy prefix).
    """

    pieces: Sequence[bytes]
    strips_space: bool

    def bytes_of(self, token_id: int, first: bool = False) -> bytes:
        piece = self.pieces[token_id] if 0 <= token_id < len(self.pieces) else b""
        return piece.removeprefix(b" ") if first and self.strips_space else piece

    def decode(self, ids: Sequence[int]) -> str:
        detokenizer = Detokenizer(self)
        return "".join(map(detokenizer.push, ids)) + detokenizer.flush()


class Detokenizer:
    """Feed ids to `push`; its results, joined, and `flush` at the end give the decoded text."""

    def __init__(self, table: PieceTable) -> None:
        self._table = table
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
        self._at_start = table.strips_space

    def push(self, token_id: int) -> str:
        piece = self._table.bytes_of(token_id)
        if self._at_start and piece:
            self._at_start = False
            piece = piece.removeprefix(b" ")
        return _replaced(self._decoder.decode(piece))

    def flush(self) -> str:
        """The rest of the text: U+FFFD for each byte of a character that never became whole."""
        return _replaced(self._decoder.decode(b"", final=True))


class TableTokenizer:
    """The half of a tokenizer that goes from ids to text by a table of its vocabulary's bytes (`base.Tokenizer`)."""

    def __init__(self, table: PieceTable, bos_id: int | None, eos_ids: frozenset[int]) -> None:
        self._table = table
        self.bos_id = bos_id
        self.eos_ids = eos_ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._table.decode(ids)

    def detokenizer(self) -> Detokenizer:
        return Detokenizer(self._table)

    def token_bytes(self, token_id: int, first: bool = False) -> bytes:
        return self._table.bytes_of(token_id, first)

    @property
    def size(self) -> int:
        return len(self._table.pieces)


ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


def _replaced(text: str) -> str:
    """One U+FFFD a stray byte, as sentencepiece decodes; Python's own "replace" joins some of them."""
    return ESCAPED_BYTE.sub("\N{REPLACEMENT CHARACTER}", text)
