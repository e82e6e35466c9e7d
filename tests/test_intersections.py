"""Patterns that meet on one string are bounded: their compiling would not end."""

import json
from typing import Any

import pytest

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.grammars import json_schema, lark
from pandagpt_core.intersections import MAX_PATTERNS

MANY: Any = [{"type": "string", "pattern": f"^.*w{at}.*$"} for at in range(40)]
CHAIN: Any = {f"a{at}": {"pattern": f"^.*{at}", "$ref": f"#/$defs/a{at + 1}"} for at in range(30)}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": MANY},
        {"allOf": [{"allOf": MANY[:6]}, {"anyOf": [{"allOf": MANY[6:12]}]}]},
        {"type": "object", "properties": {"a": {"allOf": MANY}}},
        {"allOf": [{"type": "object", "properties": {"a": one}} for one in MANY]},
        {"allOf": [{"type": "array", "items": one} for one in MANY]},
        {"$ref": "#/$defs/a0", "$defs": {**CHAIN, "a30": {"type": "string"}}},
    ],
)
def test_more_patterns_on_one_string_than_the_limit_are_refused(schema: Any) -> None:
    with pytest.raises(InvalidRequest, match=rf"to \d+ patterns at once; the limit is {MAX_PATTERNS}"):
        json_schema(schema)


def test_schemas_inside_of_a_lark_grammar_are_bounded_too() -> None:
    assert lark('start: %json {"type": "string"}').kind == "lark"
    with pytest.raises(InvalidRequest, match="to 40 patterns at once"):
        lark(f'start: "a" %json {json.dumps({"allOf": MANY})}')


def test_references_without_end_are_counted_in_bounded_work() -> None:
    doubled: Any = {f"a{at}": {"allOf": [{"$ref": f"#/$defs/a{at + 1}"}] * 2} for at in range(20)}
    with pytest.raises(InvalidRequest):
        json_schema({"$ref": "#/$defs/a0", "$defs": {**doubled, "a20": {"type": "string", "pattern": "^a"}}})


def test_alternatives_and_many_fields_with_patterns_pass() -> None:
    fields = {f"p{at}": one for at, one in enumerate(MANY)}
    for schema in ({"anyOf": MANY}, {"type": "object", "properties": fields}, {"allOf": [{"properties": fields}]}):
        assert json_schema(schema).kind == "json_schema"
    person: Any = {"type": "object", "properties": {"name": {"pattern": "^a"}, "friend": {"$ref": "#"}}}
    assert json_schema(person).kind == "json_schema"
