"""Grammars are checked before they are queued: in bounded size, depth and time, with the place in words."""

import contextlib
import time
from typing import Any

import pytest

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.grammars import MAX_BYTES, MAX_DEPTH, choice, json_schema, lark, regex


@pytest.mark.parametrize(
    ("make", "value", "words"),
    [
        (json_schema, {"type": "object", "not": {}}, "not"),
        (json_schema, {"$ref": "https://example.com/schema"}, "JSON schema cannot be followed"),
        (json_schema, {"type": "nonsense"}, "nonsense"),
        (json_schema, "text", "is an object"),
        (regex, "(a", "regular expression cannot be followed: in a pattern at character 1: unclosed group"),
        (regex, "ab(?=c)", "pattern at character 3: look-around, including look-ahead and look-behind, is not"),
        (json_schema, {"pattern": "a(?!b)"}, r"at character 2: look-around.* is not supported \(at /pattern\)"),
        (json_schema, {"items": {"properties": {"a/b~": {"pattern": "(?<=a)b"}}}}, "/properties/a~1b~0/pattern"),
        (lark, "start: other", "grammar cannot be followed"),
        (choice, ["x" * MAX_BYTES], f"the limit is {MAX_BYTES}"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_words(make: object, value: object, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        make(value)  # type: ignore[operator]


def test_a_schema_of_any_depth_is_refused_without_recursion() -> None:
    schema: dict[str, object] = {"type": "string"}
    for _ in range(100_000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InvalidRequest, match=f"the limit is {MAX_DEPTH}"):
        json_schema(schema)


@pytest.mark.parametrize("pattern", ["(a|a)*" * 200, "((a{1,1000}){1,1000}){1,1000}", ".{0,100000}" * 20])
def test_a_costly_pattern_ends_in_bounded_work(pattern: str) -> None:
    before = time.process_time()
    with contextlib.suppress(InvalidRequest):
        regex(pattern)
    assert time.process_time() - before < 20  # without the limits it does not end


def test_ordinary_schemas_pass() -> None:
    person = {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "array"}}}
    assert json_schema(person).kind == "json_schema"
    assert json_schema({}).kind == "json_schema"


@pytest.mark.parametrize(
    ("inside", "place"),
    [
        (lambda wrong: {"type": "object", "properties": {"a": {"type": "string"}, "b": wrong}}, "/properties/b"),
        (lambda wrong: {"type": "array", "items": {"anyOf": [{"type": "null"}, wrong]}}, "/items/anyOf/1"),
        (lambda wrong: {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": wrong}}}, "/$defs/a/items"),
    ],
)
def test_a_schema_that_cannot_be_followed_names_the_place(inside: Any, place: str) -> None:
    wrong = {"type": "object", "if": {"type": "object"}}
    with pytest.raises(InvalidRequest) as refused:
        json_schema(inside(wrong))
    assert f"(at {place})" in refused.value.message
