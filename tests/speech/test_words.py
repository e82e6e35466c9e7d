"""Words of a segment's tokens."""

from collections.abc import Sequence

from pandagpt_core.speech.words import token_frames, words_of

PIECES = [b" A", b"b", b" caf\xc3", b"\xa9", b"!", b" \xe4\xbd\xa0", b"\xe5\xa5\xbd", b"."]


def decode(tokens: Sequence[int]) -> str:
    return b"".join(PIECES[token] for token in tokens).decode(errors="replace")


def texts(tokens: Sequence[int], language: str) -> list[str]:
    return [word.text for word in words_of(tokens, decode, language)]


def test_words_end_at_spaces_and_marks_belong_to_the_word_before() -> None:
    assert texts([0, 1, 2, 3, 4], "en") == [" Ab", " café!"]


def test_a_language_without_spaces_has_a_word_a_character() -> None:
    assert texts([5, 6, 7], "zh") == [" 你", "好."]
    assert texts([5, 6, 7], "en") == [" 你好."]


def test_tokens_begin_where_they_are_first_aligned() -> None:
    assert token_frames([(0, 0), (0, 4), (1, 5), (2, 9)], 2) == [0, 10, 18]
    assert token_frames([(0, 0), (1, 5)], 3) == [0, 10, 12, 12]
