"""Structured output: a grammar that an answer must follow, checked before it is queued. No torch.

llguidance compiles JSON schemas, regular expressions and Lark grammars. A grammar is bounded in size and depth before
it is compiled, and llguidance bounds the work of compiling by itself.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llguidance import LLMatcher, LLParserLimits

from pandagpt_core import json_schemas
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.json_schemas import parts
from pandagpt_core.types import Grammar, GrammarKind

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
LIMITS = LLParserLimits(max_grammar_size=200_000, initial_lexer_fuel=500_000, step_lexer_fuel=200_000)
MAX_TRIES = 64  # parts of a schema that are looked at to find the one that cannot be followed


def json_schema(schema: Any) -> Grammar:
    """The grammar of a JSON schema. Raises InvalidRequest with the place that is not supported."""
    if not isinstance(schema, Mapping | bool):
        raise InvalidRequest("a JSON schema is an object")
    depth = _depth(schema)
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"the JSON schema is {depth} levels deep; the limit is {MAX_DEPTH}")
    try:
        return checked(_of_schema(schema))
    except InvalidRequest as error:
        place = _place(schema)
        raise InvalidRequest(f"{error.message}{f' (at {place})' if place else ''}") from None


def _of_schema(schema: Any) -> Grammar:
    return Grammar("json_schema", json.dumps(followable(schema), separators=(",", ":")))


def followable(schema: Any) -> Any:
    """The schema in keywords that llguidance follows, where there are such; parts too deep for it stay as they are."""
    return json_schemas.followable(schema, MAX_DEPTH)


def _place(schema: Any) -> str:
    """JSON pointer to the smallest part that cannot be followed by itself; empty for the whole."""
    names = ("$defs", "definitions") if isinstance(schema, Mapping) else ()
    definitions = {name: schema[name] for name in names if name in schema}
    place, part = "", schema
    budget = iter(range(MAX_TRIES))  # one for all levels: it ends a search that found nothing
    while found := next(
        (one for one, _ in zip(parts(part), budget, strict=False) if not _follows(one[1], definitions)), None
    ):
        place, part = f"{place}/{found[0]}", found[1]
    return f"{place}/pattern" if _has_wrong_pattern(part) else place


def _has_wrong_pattern(schema: Any) -> bool:
    pattern = schema.get("pattern") if isinstance(schema, Mapping) else None
    return isinstance(pattern, str) and not _follows({"type": "string", "pattern": pattern}, {})


def _follows(schema: Any, definitions: Mapping[str, Any]) -> bool:
    try:
        checked(_of_schema({**definitions, **schema} if isinstance(schema, Mapping) else schema))
    except InvalidRequest:
        return False
    return True


def choice(options: Sequence[str]) -> Grammar:
    """One of these texts."""
    return checked(Grammar("choice", json.dumps(list(options))))


def regex(pattern: str) -> Grammar:
    return checked(Grammar("regex", pattern))


def lark(text: str) -> Grammar:
    return checked(Grammar("lark", text))


def checked(grammar: Grammar) -> Grammar:
    """The grammar, if it compiles within the limits. Raises InvalidRequest."""
    size = len(grammar.text.encode())
    if size > MAX_BYTES:
        raise InvalidRequest(f"the grammar is {size} bytes; the limit is {MAX_BYTES}")
    try:
        complaint = LLMatcher.validate_grammar(compiled(grammar), limits=LIMITS)
    except ValueError as error:
        complaint = str(error)
    if complaint:
        raise InvalidRequest(f"the {_NAMES[grammar.kind]} cannot be followed: {_reason(complaint)}")
    return grammar


def compiled(grammar: Grammar) -> str:
    """The grammar in llguidance's own form. Raises ValueError for one that has no such form."""
    return _COMPILERS[grammar.kind](grammar.text)


# No free white space: a small model may write it without end.
JSON_OPTIONS: Any = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}


def _compiled_schema(text: str) -> str:
    return LLMatcher.grammar_from_json_schema(text, overrides=JSON_OPTIONS)


def _compiled_choice(text: str) -> str:
    return LLMatcher.grammar_from_lark("start: " + " | ".join(json.dumps(one) for one in json.loads(text)))


_COMPILERS = {
    "json_schema": _compiled_schema,
    "choice": _compiled_choice,
    "regex": LLMatcher.grammar_from_regex,
    "lark": LLMatcher.grammar_from_lark,
}
_NAMES: Mapping[GrammarKind, str] = {
    "json_schema": "JSON schema",
    "choice": "choice",
    "regex": "regular expression",
    "lark": "grammar",
}


def _depth(value: Any) -> int:
    """Levels of nesting, without recursion: a caller chooses the depth."""
    deepest, level = 0, [value]
    while level and deepest <= MAX_DEPTH:
        deepest += 1
        inner: list[Any] = []
        for one in level:
            inner += one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else ()
        level = inner
    return deepest


def _reason(complaint: str) -> str:
    """One line of llguidance's. Of a pattern that cannot be parsed, the parser's reason and the character it means."""
    if (parsed := _PATTERN_ERROR.search(complaint)) is not None:
        return f"in a pattern at character {len(parsed['before']) + 1}: {parsed['reason']}"
    return complaint.strip().splitlines()[0][:300]


# As the Rust crate regex-syntax reports an error of a pattern without line breaks.
_PATTERN_ERROR = re.compile(r"regex parse error:\n    .*\n    (?P<before> *)\^+\nerror: (?P<reason>.*)")
