"""Context text: CLIP's ids, the end token of texts too long, and cost that grows with length alone."""

import json
import random
import subprocess
import sys
import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read, text

RECIPE, LIMITS = "clip-bpe-v1", Limits()


def ids(text: str) -> list[int]:
    return load(RECIPE, text.encode(), {}, LIMITS)[0].tolist()


def test_a_text_stands_between_start_and_end_padded_with_zeros():
    array = load(RECIPE, b"A dog.", {}, LIMITS)
    assert array.shape == (1, 77)
    assert array.dtype == np.int64
    assert array[0, :6].tolist() == [49406, 320, 1929, 269, 49407, 0]


@pytest.mark.parametrize("words", [74, 75, 76, 77, 500])
def test_a_text_too_long_keeps_its_end_token(words):
    tokens = ids("word " * words)
    assert len(tokens) == 77
    assert tokens.index(49407) == min(words + 1, 76)
    assert tokens.count(49407) == 1


def test_case_entities_and_mojibake_are_mended():
    assert ids("A &amp;amp; B") == ids("a & b")
    assert ids("schÃ¶n") == ids("schön")
    assert ids(" two\t\n words ") == ids("two words")


def test_one_long_word_is_merged_in_time():
    word = "".join(chr(ord("a") + index * index % 26) for index in range(16_000))
    start = time.process_time()
    assert ids(word)[76] == 49407
    assert time.process_time() - start < 5.0


def test_pieces_are_joined_in_the_order_of_the_merges() -> None:
    chance = random.Random(0)
    letters = [chr(code) for code in range(ord("a"), ord("f"))]
    merges: list[tuple[str, str]] = []
    known = [*letters, *(letter + "</w>" for letter in letters)]
    while len(merges) < 60:
        left, right = chance.choice(known), chance.choice(known)
        if "<" not in left and left + right not in known:
            merges.append((left, right))
            known.append(left + right)
    vocabulary = text.Vocabulary(merges)
    spelt = [*text.byte_letters().values()]
    names = [*spelt, *(letter + "</w>" for letter in spelt), *(left + right for left, right in merges)]
    for _ in range(500):
        word = "".join(chance.choices(letters, k=chance.randint(1, 12)))
        assert [names[token] for token in vocabulary.encode(word)] == joined(word, merges)


def joined(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """By the definition: of all neighbours the best-ranked are joined, leftmost first, and all is looked at again."""
    pieces = [*word[:-1], word[-1] + "</w>"]
    while found := [(merges.index(pair), at) for at, pair in enumerate(pairwise(pieces)) if pair in merges]:
        at = min(found)[1]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return pieces


def test_the_vocabulary_takes_little_memory() -> None:
    text._vocabulary.cache_clear()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    text._vocabulary()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken < 4_000_000


def test_characters_are_bounded():
    with pytest.raises(InvalidMedia, match="has 11 characters; the limit is 10"):
        load(RECIPE, b"hello world", {}, Limits(characters=10))


def test_what_is_not_utf8_is_refused():
    with pytest.raises(InvalidMedia, match="not UTF-8"):
        load(RECIPE, b"\xff\xfe", {}, LIMITS)


def test_without_the_vocabulary_context_text_is_no_fault_of_the_callers():
    code = (
        "import sys; sys.modules['open_clip'] = None\n"
        "from pandagpt_core.errors import UnsupportedModality\n"
        "from pandagpt_core.media import Limits, load\n"
        "try:\n    load('clip-bpe-v1', b'a dog', {}, Limits())\n"
        "except UnsupportedModality as error:\n    print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "CLIP's vocabulary" in done.stdout


def test_many_texts_are_read_as_one_by_one_with_their_counts():
    texts = ["A dog.", "word " * 80, [320, 1929]]
    rows = load("clip-bpe-batch-v1", json.dumps(texts).encode(), {"cut": "end"}, LIMITS)
    assert rows[:, :3].tolist() == [[0, 3, 3], [1, 80, 75], [2, 2, 2]]
    assert rows[0, 3:].tolist() == ids("A dog.")
    assert rows[1, 3:].tolist() == ids("word " * 80)
    assert rows[2, 3:8].tolist() == [49406, 320, 1929, 49407, 0]


def test_a_text_that_is_cut_in_a_conversation_is_a_warning():
    _, notes = read(RECIPE, b"word " * 76, {}, LIMITS)
    assert notes.warnings == ["the text is longer than the 75 tokens that the tower reads; its end is not read"]
    assert read(RECIPE, b"word " * 75, {}, LIMITS)[1].warnings == []
