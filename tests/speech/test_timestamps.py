"""Timestamps among a window's tokens: segments with times, and where the next window begins; words and their times."""

from collections.abc import Sequence

from pandagpt_core.speech.timestamps import StampedSegment, split, token_frames, words_of

T = 1000  # the first timestamp


def at(seconds: float) -> int:
    return T + round(seconds * 50)


def test_segments_stand_between_pairs_and_a_window_begins_at_an_unfinished_one() -> None:
    tokens = [at(0), 1, 2, at(4), at(4), 3, at(9.5), at(9.5), 4, 5]
    segments, follow = split(tokens, T, 3000)
    assert segments == [StampedSegment(0, 400, (1, 2)), StampedSegment(400, 950, (3,))]
    assert follow == 950


def test_a_last_segment_that_ends_is_one_and_nothing_of_the_window_is_left() -> None:
    segments, follow = split([at(0), 1, at(4), at(4), 2, at(6)], T, 3000)
    assert [one.tokens for one in segments] == [(1,), (2,)]
    assert (segments[1].end, follow) == (600, 3000)


def test_one_segment_without_a_pair_ends_where_it_says_or_with_the_sound() -> None:
    assert split([at(0), 1, 2, at(2.5)], T, 700) == ([StampedSegment(0, 250, (1, 2))], 700)
    assert split([1, 2], T, 700) == ([StampedSegment(0, 700, (1, 2))], 700)


def test_a_window_of_times_alone_has_no_segments_and_the_sound_goes_on() -> None:
    assert split([at(0), at(0)], T, 3000) == ([], 3000)
    assert split([], T, 3000) == ([], 3000)


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
