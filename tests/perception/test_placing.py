"""Places of things in words."""

import pytest

from pandagpt_core.perception.placing import place


@pytest.mark.parametrize(
    ("x", "y", "words"), [(0.1, 0.5, "left"), (0.5, 0.5, "middle"), (0.9, 0.1, "top right"), (0.5, 0.9, "bottom")]
)
def test_a_middle_has_a_place(x: float, y: float, words: str) -> None:
    assert place(x, y) == words
