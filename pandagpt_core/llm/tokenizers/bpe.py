"""Byte-pair vocabularies of the `tokenizers` library: a folder's tokenizer.json, or one built from GGUF metadata."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.detokenizer import PieceTable, TableTokenizer
from pandagpt_core.llm.tokenizers.special_tokens import generation_ends, parse_json, special_id

WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"
FIRST_BYTE_PIECE = "<0x00>"


class BPETokenizer(TableTokenizer):
    """`control` are the ids that stand for no text; encoding never yields them."""

    def __init__(self, backend: Backend, control: Collection[int], bos_id: int | None, eos_ids: frozenset[int]) -> None:
        backend.encode_special_tokens = True  # take "<|im_end|>" in a caller's text as the characters it is
        self._backend = backend
        super().__init__(piece_table(backend.get_vocab(with_added_tokens=True), frozenset(control)), bos_id, eos_ids)

    @classmethod
    def from_folder(cls, folder: Path) -> "BPETokenizer":
        described = parse_json(folder / "tokenizer.json")
        control = [token["id"] for token in described.get("added_tokens", []) if token.get("special")]
        backend = _read(described)
        bos_id = special_id(folder, "bos_token", backend.token_to_id, None)
        eos_id = special_id(folder, "eos_token", backend.token_to_id, None)
        ends = generation_ends(folder) | ({eos_id} if eos_id is not None else set())
        return cls(backend, control, bos_id, ends)

    def encode(self, text: str) -> list[int]:
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def token_id(self, piece: str) -> int | None:
        return self._backend.token_to_id(piece)


def _read(described: Mapping[str, Any]) -> Backend:
    """Raises CheckpointError for JSON that is no vocabulary: of the library a plain Exception without a file's name."""
    try:
        return Backend.from_str(json.dumps(described))
    except Exception:  # noqa: BLE001  the library raises nothing more exact
        raise CheckpointError("tokenizer.json is no vocabulary that the tokenizers library reads") from None


def piece_table(vocabulary: Mapping[str, int], control: frozenset[int]) -> PieceTable:
    """Sentencepiece-like vocabularies (they hold "<0x00>") write spaces as a block, GPT-2-like ones remap all bytes."""
    like_pieces = FIRST_BYTE_PIECE in vocabulary
    to_bytes = _block_piece_bytes if like_pieces else _remapped_piece_bytes
    pieces = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for piece, index in vocabulary.items():
        pieces[index] = b"" if index in control else to_bytes(piece)
    return PieceTable(pieces, strips_space=like_pieces)


def _block_piece_bytes(piece: str) -> bytes:
    if len(piece) == len(FIRST_BYTE_PIECE) and piece.startswith("<0x"):
        return bytes([int(piece[1:-1], 16)])
    return piece.replace(WORD_START, " ").encode()


def _remapped_piece_bytes(piece: str) -> bytes:
    if all(character in REMAPPED for character in piece):
        return bytes(REMAPPED[character] for character in piece)
    return piece.encode()  # an added token, written as itself


def byte_alphabet() -> dict[str, int]:
    """The printable stand-in of every byte (Radford et al. 2019): itself if visible in Latin-1, else from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(0x100 + n): byte for n, byte in enumerate(hidden)}


REMAPPED: Mapping[str, int] = byte_alphabet()
