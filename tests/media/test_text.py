"""Context text: CLIP's ids, the end token of texts too long, and cost that grows with length alone."""

import subprocess
import sys
import time

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load

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


def test_characters_are_bounded():
    with pytest.raises(InvalidMedia, match="has 11 characters; the limit is 10"):
        load(RECIPE, b"hello world", {}, Limits(characters=10))


def test_what_is_not_utf8_is_refused():
    with pytest.raises(InvalidMedia, match="not UTF-8"):
        load(RECIPE, b"\xff\xfe", {}, LIMITS)


def test_without_the_vocabulary_context_text_is_unsupported_and_not_the_callers_fault():
    code = (
        "import sys; sys.modules['open_clip'] = None\n"
        "from pandagpt_core.errors import UnsupportedModality\n"
        "from pandagpt_core.media import Limits, load\n"
        "try:\n    load('clip-bpe-v1', b'a dog', {}, Limits())\n"
        "except UnsupportedModality as error:\n    print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "CLIP's vocabulary" in done.stdout
