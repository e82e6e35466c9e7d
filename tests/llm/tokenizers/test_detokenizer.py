"""Ids to text, one at a time."""

import pytest

from pandagpt_core.llm.tokenizers.detokenizer import Detokenizer, PieceTable

BYTES = PieceTable([bytes([n]) for n in range(256)], strips_space=False)
WORDS = PieceTable([b"", b" a", b" ", b"b", b"\xf0\x9f", b"\x90\xbc"], strips_space=True)


def deltas(table: PieceTable, ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(table)
    return [*map(detokenizer.push, ids), detokenizer.flush()]


@pytest.mark.parametrize("text", ["panda", "é", "你好", "🐼 and 🎋", "a\u0301", ""])
def test_deltas_join_to_the_text(text: str) -> None:
    assert "".join(deltas(BYTES, list(text.encode()))) == text


def test_an_incomplete_character_is_held_back_until_it_is_whole() -> None:
    assert deltas(BYTES, list("x🐼".encode())) == ["x", "", "", "", "🐼", ""]
    assert deltas(WORDS, [4, 5]) == ["", "🐼", ""]


def test_stray_bytes_become_one_replacement_each() -> None:
    assert deltas(BYTES, [0xE4, 0xBD, 0x41]) == ["", "", "\ufffd\ufffdA", ""]
    assert deltas(BYTES, [0xF0, 0x9F]) == ["", "", "\ufffd\ufffd"]


def test_the_first_space_of_a_piece_vocabulary_is_dropped_once() -> None:
    assert deltas(WORDS, [0, 1, 1]) == ["", "a", " a", ""]
    assert deltas(WORDS, [2, 2, 3]) == ["", " ", "b", ""]


def test_ids_beyond_the_vocabulary_have_no_text() -> None:
    assert WORDS.decode([3, 99, -1, 3]) == "bb"
