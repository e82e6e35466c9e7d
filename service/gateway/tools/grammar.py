"""The grammar of an answer that may or must call functions (Lark, as llguidance reads it).

A call stands between tags, so text stays free until a tag begins. Inside, the name is one of the tools' and the
arguments follow its schema: a call that ends is one that can be made.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pandagpt_core import grammars
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.tools import ARGUMENTS_BEFORE, CALL_CLOSE, CALL_OPEN, NAME_BEFORE, json_inside
from pandagpt_core.types import Grammar
from service.gateway.tools.request import Tool, ToolRequest

_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
_ANY_ARGUMENTS: Mapping[str, Any] = {"type": "object"}
_FREE = "(.|\\n)*"


def calls_grammar(request: ToolRequest, answer: Grammar | None) -> Grammar:
    """Grammar of an answer that may call functions ("auto"), or must ("required"). answer: the grammar of text.

    A schema that cannot be followed leaves its function's arguments free, unless it is strict. Raises InvalidRequest
    with `param` naming the tool or the grammar.
    """
    schemas = {tool.name: _schema(tool) for tool in request.tools}
    try:
        return grammars.lark(_text(request, schemas, answer))
    except InvalidRequest:
        schemas = {tool.name: _followed(tool, schemas[tool.name]) for tool in request.tools}
    try:
        return grammars.lark(_text(request, schemas, answer))
    except InvalidRequest as error:
        strict = next((tool for tool in request.tools if tool.strict), None)
        if strict is not None or answer is not None:
            raise InvalidRequest(f"the tools together: {error}", param="tools") from None
        return grammars.lark(_text(request, dict.fromkeys(schemas, _ANY_ARGUMENTS), answer))


def _schema(tool: Tool) -> Mapping[str, Any]:
    """A schema that names properties names them all, unless it allows others."""
    if not tool.parameters:
        return _NO_ARGUMENTS
    closed = {} if "properties" not in tool.parameters else {"additionalProperties": False}
    written: Mapping[str, Any] = grammars.followable({"type": "object", **closed, **tool.parameters})
    return written


def _followed(tool: Tool, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema, or any object where it cannot be followed. Raises InvalidRequest for a strict tool's."""
    try:
        grammars.json_schema(schema)
    except InvalidRequest as error:
        if tool.strict:
            raise InvalidRequest(f"{tool.where}: {error}", param=tool.where) from None
        return _ANY_ARGUMENTS
    return schema


def _text(request: ToolRequest, schemas: Mapping[str, Mapping[str, Any]], answer: Grammar | None) -> str:
    more = f"({json.dumps(chr(10) + CALL_OPEN)} call)*" if request.parallel else ""
    if request.mode == "required":
        start = [f"start: {json.dumps(CALL_OPEN)} call {more}"]
    elif answer is not None:
        start = [f"start: answer | {json.dumps(CALL_OPEN)} call {more}", *_answer(answer)]
    else:
        start = [f"start: open call {more} | FREE", f"open[lazy]: FREE {json.dumps(CALL_OPEN)}", f"FREE: /{_FREE}/"]
    names = " | ".join(f"f{number}" for number in range(len(schemas)))
    before, after = json.dumps(f"\n{NAME_BEFORE}"), json.dumps(f"}}\n{CALL_CLOSE}")
    return "\n".join([*start, f"call: {before} ({names}) {after}", *_functions(schemas)])


def _functions(schemas: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rules = []
    for number, (name, schema) in enumerate(schemas.items()):
        before = json.dumps(json_inside(name) + ARGUMENTS_BEFORE, ensure_ascii=False)
        rules.append(f"f{number}: {before} a{number}\na{number}: %json {_inline(schema)}")
    return rules


def _inline(schema: Mapping[str, Any]) -> str:
    return json.dumps({**schema, "x-guidance": grammars.JSON_OPTIONS})


def _answer(answer: Grammar) -> Sequence[str]:
    match answer.kind:
        case "json_schema":
            schema = json.loads(answer.text)
            return [f"answer: %json {_inline(schema if isinstance(schema, dict) else {})}"]
        case "choice":
            return ["answer: " + " | ".join(json.dumps(one) for one in json.loads(answer.text))]
    raise InvalidRequest("tools and a regular expression or a grammar of your own exclude one another", param="tools")
