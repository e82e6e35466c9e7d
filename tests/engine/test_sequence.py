"""Stop strings in streamed text."""

import itertools

import pytest

from pandagpt_core.engine.sequence import StopMatcher


def shown(stops: tuple[str, ...], deltas: list[str]) -> tuple[list[str], bool]:
    matcher = StopMatcher(stops)
    texts = [matcher.push(delta) for delta in deltas]
    return [*texts, matcher.flush()], matcher.stopped


def test_text_passes_at_once_where_nothing_can_stop() -> None:
    assert shown((), ["a", "b"]) == (["a", "b", ""], False)
    assert shown(("",), ["a"]) == (["a", ""], False)


def test_a_possible_beginning_is_held_back_and_given_when_it_is_none() -> None:
    assert shown(("###",), ["a#", "#", "b"]) == (["a", "", "##b", ""], False)


def test_held_text_is_given_at_the_end() -> None:
    assert shown(("###",), ["a##"]) == (["a", "##"], False)


def test_a_stop_string_over_three_deltas_is_cut_whole() -> None:
    assert shown(("\n###",), ["yes\n", "##", "# Human"]) == (["yes", "", "", ""], True)


def test_a_stop_string_at_the_first_character_leaves_nothing() -> None:
    assert shown(("#",), ["#x"]) == (["", ""], True)


def test_nothing_is_shown_after_the_stop() -> None:
    assert shown(("x",), ["axb", "c"]) == (["a", "", ""], True)


def test_a_repeated_beginning_is_not_lost() -> None:
    assert "".join(shown(("aab",), list("aaaab"))[0]) == "aa"
    assert "".join(shown(("abac",), list("ababac"))[0]) == "ab"


@pytest.mark.parametrize("stops", [("ab",), ("abcd", "bc"), ("b", "ab"), ("cab", "d"), ("dd", "ddd")])
def test_the_result_does_not_depend_on_how_the_text_is_cut(stops: tuple[str, ...]) -> None:
    text = "xcabcddd"
    for marks in itertools.product([False, True], repeat=len(text) - 1):
        pieces, start = [], 0
        for at, cut in enumerate(marks, 1):
            if cut:
                pieces.append(text[start:at])
                start = at
        pieces.append(text[start:])
        texts, stopped = shown(stops, pieces)
        letter_by_letter, _ = shown(stops, list(text))
        assert stopped
        assert "".join(texts) == "".join(letter_by_letter)
