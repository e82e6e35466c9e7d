"""Schemas as zod writes them, in keywords that llguidance follows: the same values pass, the same are refused."""

import json
from typing import Any

import pytest

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.grammars import json_schema
from pandagpt_core.json_schemas import FORMATS, followable
from tests.scripted import follows

NUMBER = {"type": "number"}
ANY_NAME: Any = {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": NUMBER}
NAMES: Any = {"type": "string", "enum": ["a", 'b "c.']}
LISTED: Any = {"type": "object", "propertyNames": NAMES, "additionalProperties": NUMBER}
ONE: Any = {"type": "object", "propertyNames": {"type": "string", "const": "a"}, "additionalProperties": NUMBER}
BY_PATTERN: Any = {"type": "object", "propertyNames": {"type": "string", "pattern": "^[a-z]+$"}}
STARTS: Any = {"type": "string", "format": "starts_with", "pattern": "^ab.*"}


def passes(schema: Any, value: Any) -> bool:
    return follows(json_schema(schema), json.dumps(value))


@pytest.mark.parametrize(
    ("schema", "good", "wrong"),
    [
        (ANY_NAME, [{}, {"a": 1, "b": 2}], [{"a": "x"}, []]),
        (LISTED, [{}, {"a": 1}, {'b "c.': 1, "a": 2}], [{"c": 1}, {'b "cd': 1}, {"aa": 1}, {"a": "x"}]),
        ({**LISTED, "required": NAMES["enum"]}, [{"a": 1, 'b "c.': 2}], [{"a": 1}, {}]),
        (ONE, [{}, {"a": 1}], [{"b": 1}]),
        (BY_PATTERN, [{"ab": "x"}, {"z": None}], [{"A": 1}]),
        (STARTS, ["ab", "abc"], ["cab"]),
        ({"type": "string", "format": "email", "pattern": "@a"}, ["x@a.org"], ["x@b.org", "@a"]),
    ],
)
def test_a_schema_of_zods_lets_the_same_values_pass(schema: Any, good: list[Any], wrong: list[Any]) -> None:
    for shape, inside in ((lambda one: one, lambda one: one), (_in_a_list, lambda one: {"values": [one]})):
        assert [value for value in good if not passes(shape(schema), inside(value))] == []
        assert [value for value in wrong if passes(shape(schema), inside(value))] == []


def _in_a_list(schema: Any) -> Any:
    return {
        "type": "object",
        "properties": {"values": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
        "$defs": {"a": schema},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "propertyNames": {"type": "string", "minLength": 2}},
        {"type": "object", "propertyNames": {"pattern": "a", "minLength": 2}},
        {**LISTED, "properties": {"a": NUMBER}},
        {**LISTED, "patternProperties": {"a": NUMBER}},
        {"type": "string", "format": "ulid"},
        {"type": "string", "format": ["ulid"], "pattern": 5},
        {"type": "object", "propertyNames": {"enum": 5}},
    ],
)
def test_what_would_change_its_meaning_stays_and_is_refused(schema: Any) -> None:
    assert followable(schema, 9) == schema
    with pytest.raises(InvalidRequest, match="cannot be followed"):
        json_schema(schema)


def test_values_that_look_like_schemas_stay() -> None:
    value = {"format": "ulid", "pattern": "a", "propertyNames": {}}
    schema = {"enum": [value], "const": value, "default": value, "properties": {"format": {"const": value}}}
    assert followable(schema, 9) == schema


def test_every_format_of_the_list_is_followed() -> None:
    for name in FORMATS:
        json_schema({"type": "string", "format": name})


def test_what_lies_deeper_than_the_levels_stays() -> None:
    schema: Any = ANY_NAME
    for _ in range(5):
        schema = {"type": "array", "items": schema}
    assert followable(schema, 5) == schema
    assert "propertyNames" not in json.dumps(followable(schema, 6))
