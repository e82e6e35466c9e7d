"""Sentencepiece vocabularies: the LLaMA and Vicuna folders that hold a tokenizer.model."""

from pathlib import Path

import sentencepiece

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.detokenizer import PieceTable, TableTokenizer
from pandagpt_core.llm.tokenizers.pointers import check_no_pointer
from pandagpt_core.llm.tokenizers.special_tokens import generation_ends, read_json, special_id

UNKNOWN_TEXT = " \N{DOUBLE QUESTION MARK} ".encode()  # sentencepiece's text for <unk>


class PieceTokenizer(TableTokenizer):
    """Plain sentencepiece: each encoded text gets its own dummy prefix, control names in it are ordinary text."""

    def __init__(
        self,
        model: sentencepiece.SentencePieceProcessor,
        bos_id: int | None,
        eos_ids: frozenset[int],
        added: dict[str, int] | None = None,
    ) -> None:
        super().__init__(piece_table(model), bos_id, eos_ids)
        self._model = model
        self._added = added or {}

    @classmethod
    def from_folder(cls, folder: Path) -> "PieceTokenizer":
        model = _read(folder / "tokenizer.model")
        added = {piece: int(index) for piece, index in read_json(folder / "added_tokens.json").items()}
        plain = cls(model, _known(model.bos_id()), frozenset(), added)
        eos_id = special_id(folder, "eos_token", plain.token_id, _known(model.eos_id()))
        ends = generation_ends(folder) | ({eos_id} if eos_id is not None else set())
        return cls(model, special_id(folder, "bos_token", plain.token_id, plain.bos_id), ends, added)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._model.encode(text)
        return ids

    def token_id(self, piece: str) -> int | None:
        if piece in self._added:
            return self._added[piece]
        found = int(self._model.piece_to_id(piece))
        return found if self._model.id_to_piece(found) == piece else None  # unknown pieces answer <unk>'s id


def _read(path: Path) -> sentencepiece.SentencePieceProcessor:
    """Raises CheckpointError for a file that is no vocabulary: of the library an exception without the file's name."""
    check_no_pointer(path)
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError):
        raise CheckpointError(f"{path.name} is no sentencepiece vocabulary: it is damaged or cut short") from None


def piece_table(model: sentencepiece.SentencePieceProcessor) -> PieceTable:
    return PieceTable([piece_bytes(model, index) for index in range(model.get_piece_size())], strips_space=True)


def piece_bytes(model: sentencepiece.SentencePieceProcessor, index: int) -> bytes:
    piece: str = model.id_to_piece(index)
    if model.is_control(index) or model.is_unused(index):
        return b""
    if model.is_unknown(index):
        return UNKNOWN_TEXT
    if model.is_byte(index):
        return bytes([int(piece[1:-1], 16)])  # "<0x0A>"
    return piece.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode()


def _known(token_id: int) -> int | None:
    return token_id if token_id >= 0 else None
