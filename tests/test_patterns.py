"""Patterns that look ahead against patterns without: the same texts pass, of all short ones."""

import itertools
import re

import pytest

from pandagpt_core.grammars import json_schema
from pandagpt_core.patterns import without_look_aheads
from tests.scripted import follows

LETTERS = "ab.1|"
TEXTS = ["".join(text) for length in range(6) for text in itertools.product(LETTERS, repeat=length)]


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(?=.*a)(?=.*1)[ab1]+$",
        r"^(?=a|b).b",
        r"^(?=.{2,3}$)[a-z]",
        r"^(?!\.)(?!.*\.\.)[ab\.]+$",
        r"^(?!a)b*",
        r"^(?![ab])",
        r"^(?![^a])a.*b",
        r"^(?!ab)[ab]{2,}$",
        r"^(?!ab$)[ab]+$",
        r"^(?!a$)",
        r"^(?!\d)\w*$",
        r"^(?!.*1)a",
        r"^(?!.*[1.])b",
        r"^(?=a)(?:a|b\|)*$",
        r"^(?=[)(|a]).",
    ],
)
def test_a_pattern_that_looks_ahead_is_several_without(pattern: str) -> None:
    parts = without_look_aheads(pattern)
    assert parts is not None
    wanted = [text for text in TEXTS if re.search(pattern, text)]
    assert wanted
    assert [text for text in TEXTS if all(re.search(part, text) for part in parts)] == wanted


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?=a)b",  # anywhere
        r"^a(?=b)b",
        r"^(?<=a)b",
        r"^(?!.*ab)",
        r"^(?!.*a$)",
        r"^(?!a+)b",
        r"^(?!(a))b",
        r"^(?!a|b)b",
        r"^(?=a)b|c",  # the look-ahead is of the first branch alone
        r"^(?=a",
        r"^(?!)a",
        r"^a",
        "",
    ],
)
def test_other_patterns_stay(pattern: str) -> None:
    assert without_look_aheads(pattern) is None


def test_zods_patterns_that_look_ahead_are_followed() -> None:
    mail = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
    host = r"^(?=.{1,253}\.?$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9]+)*\.?$"
    made = json_schema({"type": "string", "format": "email", "pattern": mail, "allOf": [{"minLength": 6}]})
    found = {text: follows(made, f'"{text}"') for text in ("a.b@c.org", ".a@c.org", "a..b@c.org", "a@b.c", "a@c.org")}
    assert found == {"a.b@c.org": True, ".a@c.org": False, "a..b@c.org": False, "a@b.c": False, "a@c.org": True}
    assert follows(json_schema({"type": "string", "format": "hostname", "pattern": host}), '"a.org"')
