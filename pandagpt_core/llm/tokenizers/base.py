"""Text to token ids and back: the one interface over sentencepiece models, tokenizer.json and GGUF vocabularies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.detokenizer import Detokenizer


class Tokenizer(Protocol):
    """`bos_id` is None where the model uses none; any of `eos_ids` ends an answer."""

    bos_id: int | None
    eos_ids: frozenset[int]

    def encode(self, text: str) -> list[int]:
        """Take the text literally: a control token's name in it becomes ordinary pieces, never that token."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; control tokens have none, bytes that are no UTF-8 become U+FFFD."""
        ...

    def detokenizer(self) -> Detokenizer:
        """A fresh incremental decoder whose deltas concatenate to what `decode` gives."""
        ...

    def token_id(self, piece: str) -> int | None:
        """The id of a piece by its exact name in the vocabulary, control tokens included; None if there is none."""
        ...

    def token_bytes(self, token_id: int, first: bool = False) -> bytes:
        """One token's own bytes: none for a control token, perhaps a part of a character.

        first: as the first token of a text, where a vocabulary's dummy prefix is dropped.
        """
        ...

    @property
    def size(self) -> int:
        """Token ids that have a piece: 0 to size - 1."""
        ...


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a Hugging Face folder or of a GGUF file.

    In a folder `tokenizer.model` (sentencepiece) wins over `tokenizer.json`: it needs no conversion, and conversions
    of LLaMA's differ in how they treat leading spaces. Raises CheckpointError where there is neither.
    """
    if path.is_file():
        from pandagpt_core.llm.tokenizers.gguf import read_tokenizer  # gguf: an import that takes time

        return read_tokenizer(path)
    if (path / "tokenizer.model").is_file():
        from pandagpt_core.llm.tokenizers.sentencepiece import PieceTokenizer  # each kind has a library of its own

        return PieceTokenizer.from_folder(path)
    if (path / "tokenizer.json").is_file():
        from pandagpt_core.llm.tokenizers.bpe import BPETokenizer  # each kind has a library of its own

        return BPETokenizer.from_folder(path)
    raise CheckpointError("the language model's folder has neither tokenizer.model nor tokenizer.json")
