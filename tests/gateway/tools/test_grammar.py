"""The grammar of an answer with tools: the calls that it lets pass, and schemas that it cannot follow."""

import json
from typing import Any

import pytest

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.types import Grammar
from service.gateway.tools.grammar import calls_grammar
from service.gateway.tools.request import Tool, ToolMode, ToolRequest
from tests.scripted import call, follows

NUMBERS: Any = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ADD, NOW = Tool("add", parameters=NUMBERS), Tool("now")
CALLS = [call("add", {"a": 1}), call("now", {})]
NEITHER = [call("sub", {"a": 1}), call("add", {"a": "1"}), call("add", {"a": 1, "b": 2}), call("now", {"a": 1})]
UNFOLLOWED: Any = {"type": "object", "properties": {"a": {"not": {"type": "null"}}}}


def grammar(mode: ToolMode = "auto", *, parallel: bool = True, answer: Grammar | None = None) -> Grammar:
    return calls_grammar(ToolRequest((ADD, NOW), mode, parallel), answer)


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_call_follows_its_functions_schema(mode: ToolMode) -> None:
    assert all(follows(grammar(mode), text) for text in CALLS)
    assert not any(follows(grammar(mode), text) for text in NEITHER)


def test_auto_leaves_text_free_and_required_leaves_none() -> None:
    for text in ("Hello", "a <tool b", f"Let me see.\n{CALLS[0]}"):
        assert follows(grammar("auto"), text)
        assert not follows(grammar("required"), text)


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_several_calls_need_parallel_calls(mode: ToolMode) -> None:
    both = "\n".join(CALLS)
    assert follows(grammar(mode), both)
    assert not follows(grammar(mode, parallel=False), both)


def test_an_answer_that_is_no_call_follows_its_own_schema() -> None:
    answer = grammar(answer=Grammar("json_schema", json.dumps(NUMBERS)))
    assert follows(answer, '{"a": 1}')
    assert follows(answer, CALLS[0])
    assert not follows(answer, "Hello")
    assert follows(grammar(answer=Grammar("choice", '["yes"]')), "yes")


def test_arguments_with_a_record_of_zods_are_followed_too() -> None:
    record = {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "number"}}
    tool = Tool("rates", parameters={"type": "object", "properties": {"by": record}, "required": ["by"]}, strict=True)
    made = calls_grammar(ToolRequest((tool,), "required"), None)
    assert follows(made, call("rates", {"by": {"a": 1}}))
    assert not follows(made, call("rates", {"by": {"a": "x"}}))


def test_a_schema_that_cannot_be_followed_frees_arguments_unless_strict() -> None:
    loose = calls_grammar(ToolRequest((Tool("odd", parameters=UNFOLLOWED), ADD), "required"), None)
    assert follows(loose, call("odd", {"anything": 1}))
    assert not follows(loose, call("add", {"a": "1"}))
    strict = ToolRequest((ADD, Tool("odd", parameters=UNFOLLOWED, strict=True, where="tools[1].function")), "auto")
    with pytest.raises(InvalidRequest, match="tools\\[1\\]") as refused:
        calls_grammar(strict, None)
    assert refused.value.param == "tools[1].function"


def test_a_hundred_large_tools_leave_arguments_free_rather_than_nothing() -> None:
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string", "description": "x" * 99} for n in range(40)}}
    tools = tuple(Tool(f"t{n}", parameters=wide) for n in range(100))
    assert follows(calls_grammar(ToolRequest(tools, "required"), None), call("t99", {"anything": 1}))


@pytest.mark.parametrize("name", ['a"b', "a\\b", "näme", "a b\n"])
def test_any_name_is_one_name(name: str) -> None:
    odd = calls_grammar(ToolRequest((Tool(name),), "required"), None)
    assert follows(odd, call(name, {}))
