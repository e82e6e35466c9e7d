"""The grammar that a body holds, from any of the fields that clients use for it."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from pandagpt_core import grammars
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.types import Grammar
from service.gateway.errors import GatewayError
from service.gateway.schema.sampling import Sampling
from service.gateway.schema.structured import JsonObjectFormat, JsonSchemaFormat, ResponseFormat, StructuredOutputs

MAX_TEXT = 4 * grammars.MAX_BYTES  # characters of a schema's text: it may be indented. Parsing holds every thread

Made = tuple[str, Callable[[], Grammar]]  # the caller's field, and the functions that check and make it


async def grammar_of(body: Sampling) -> Grammar | None:
    """None where the answer is free. Checking a grammar takes milliseconds of a thread.

    Raises `invalid_request` for more than one grammar, or one that cannot be followed.
    """
    wanted = [*_of_format(body.response_format), *_of_vllm(body)]
    if len(wanted) > 1:
        names = ", ".join(where for where, _ in wanted)
        raise GatewayError("invalid_request", f"An answer follows one grammar; given are {names}.", param=wanted[1][0])
    for where, make in wanted:
        try:
            return await asyncio.to_thread(make)
        except InvalidRequest as error:
            raise GatewayError("invalid_request", f"{where}: {error}.", param=where) from None
    return None


def _of_format(wanted: ResponseFormat | None) -> list[Made]:
    match wanted:
        case JsonObjectFormat():
            return [("response_format", lambda: grammars.json_schema({"type": "object"}))]
        case JsonSchemaFormat():
            schema = wanted.json_schema.schema_
            return [("response_format.json_schema.schema", lambda: grammars.json_schema(schema))]
    return []


def _of_vllm(body: Sampling) -> list[Made]:
    given = body.structured_outputs or StructuredOutputs()
    fields = {
        "structured_outputs.json": (given.json_, _schema),
        "structured_outputs.regex": (given.regex, grammars.regex),
        "structured_outputs.choice": (given.choice, grammars.choice),
        "structured_outputs.grammar": (given.grammar, grammars.lark),
        "guided_json": (body.guided_json, _schema),
        "guided_regex": (body.guided_regex, grammars.regex),
        "guided_choice": (body.guided_choice, grammars.choice),
        "guided_grammar": (body.guided_grammar, grammars.lark),
    }
    return [(where, _bound(make, value)) for where, (value, make) in fields.items() if value is not None]


def _bound(make: Callable[[Any], Grammar], value: Any) -> Callable[[], Grammar]:
    return lambda: make(value)


def _schema(value: Any) -> Grammar:
    """A schema as an object, or as the text of one."""
    if not isinstance(value, str):
        return grammars.json_schema(value)
    if len(value) > MAX_TEXT:
        raise InvalidRequest(f"the text is {len(value)} characters; the limit is {MAX_TEXT}")
    try:
        return grammars.json_schema(json.loads(value))
    except (ValueError, RecursionError):
        raise InvalidRequest("the text is no JSON") from None
