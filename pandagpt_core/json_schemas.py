"""A JSON schema in the keywords that llguidance follows, with the same meaning. No torch.

zod writes records with `propertyNames`, which llguidance lacks, strings with formats of its own beside the `pattern`
that holds them (`starts_with`, `ulid`), and patterns that look ahead. A schema without these stays as it is.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pandagpt_core.patterns import without_look_aheads

Schema = Mapping[str, Any]
MAPS = ("properties", "patternProperties", "$defs", "definitions")
LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
SINGLES = ("items", "additionalProperties", "not", "propertyNames")
FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri", "unknown")
"""Of llguidance 1.9."""


def parts(schema: Any) -> Iterator[tuple[str, Any]]:
    """The schemas inside of a schema, with their places as JSON pointers (RFC 6901)."""
    if not isinstance(schema, Mapping):
        return
    for name in MAPS:
        if isinstance(inner := schema.get(name), Mapping):
            yield from ((f"{name}/{_escaped(key)}", one) for key, one in inner.items())
    for name in LISTS:
        if isinstance(inner := schema.get(name), list):
            yield from ((f"{name}/{at}", one) for at, one in enumerate(inner))
    yield from ((name, schema[name]) for name in SINGLES if isinstance(schema.get(name), Mapping))


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def followable(schema: Any, levels: int) -> Any:
    """The schema with its outer `levels` of schemas rewritten; deeper ones stay as they are."""
    if not isinstance(schema, Mapping) or not levels:
        return schema
    inner = {name: _value(name, value, levels - 1) for name, value in schema.items()}
    return _records(_look_aheads(_formats(inner)))


def _value(name: str, value: Any, levels: int) -> Any:
    if name in MAPS and isinstance(value, Mapping):
        return {key: followable(one, levels) for key, one in value.items()}
    if name in LISTS and isinstance(value, list):
        return [followable(one, levels) for one in value]
    return followable(value, levels) if name in SINGLES else value


def _formats(schema: Schema) -> Schema:
    """Without a format that llguidance lacks, where a pattern stands beside it."""
    unknown = schema.get("format", "unknown") not in FORMATS
    return _without(schema, "format") if unknown and isinstance(schema.get("pattern"), str) else schema


def _look_aheads(schema: Schema) -> Schema:
    """With `allOf` of several patterns for one that begins with look-aheads."""
    pattern, both = schema.get("pattern"), schema.get("allOf", [])
    patterns = without_look_aheads(pattern) if isinstance(pattern, str) else None
    if patterns is None or not isinstance(both, list):
        return schema
    return {**_without(schema, "pattern"), "allOf": [*both, *({"pattern": one} for one in patterns)]}


def _records(schema: Schema) -> Schema:
    """With `patternProperties` for `propertyNames` that are a pattern or a list; without those that exclude nothing."""
    names = schema.get("propertyNames")
    rest = _without(schema, "propertyNames")
    if names in (True, {}, {"type": "string"}):
        return rest
    pattern = _pattern(names)
    if pattern is None or "properties" in schema or "patternProperties" in schema:
        return schema
    values = schema.get("additionalProperties", {})
    return {**rest, "patternProperties": {pattern: values}, "additionalProperties": False}


def _pattern(names: Any) -> str | None:
    """Of the names that a schema of names allows; None where more than a pattern or a list limits them."""
    match names:
        case {"pattern": str(pattern), **rest}:
            pass
        case {"enum": list(listed), **rest}:
            pattern = _one_of(listed)
        case {"const": name, **rest}:
            pattern = _one_of([name])
        case _:
            return None
    return pattern if rest in ({}, {"type": "string"}) else None


def _one_of(names: list[Any]) -> str:
    return f"^(?:{'|'.join(re.escape(name) for name in names if isinstance(name, str))})$"


def _without(schema: Schema, name: str) -> Schema:
    return {key: value for key, value in schema.items() if key != name}
