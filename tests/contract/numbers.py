"""The numbers of the request schemas in an OpenAPI document, each with a body around it, and values that test it."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Schema = Mapping[str, Any]
MARK = "@number@"
NOT_FINITE = ("NaN", "Infinity", "-Infinity", "1e400", "-1e400")
HUGE = ("1" + 40 * "0", "-1" + 40 * "0", "9" * 400)
SHARED = 2
KEYS = {"logit_bias": "5", "options": "strength"}  # of the fake model
LISTS: Mapping[tuple[str, int | None], Callable[[Any], list[Any]]] = {  # by name and least length
    ("embedding", 1): lambda value: [value] * 8,
    ("boxes", 4): lambda value: [0, 0, value, value],
}
ORDINARY = {"dimensions": "4", "boxes": "0.5"}  # the fake model takes no value in the middle of these ranges
NEEDS: Mapping[str, Mapping[str, Any]] = {  # without which a field is refused
    "top_logprobs": {"logprobs": True},
    "boxes": {"boxes_unit": "fraction"},
    "baseline_m": {"unit": "disparity", "focal_px": 100},
    "focal_px": {"unit": "disparity", "baseline_m": 0.1},
    "scale": {"focal_px": 100, "baseline_m": 0.1},
    "low": {"high": 1e9},
    "high": {"low": -1e9},
}


@dataclass(frozen=True, slots=True)
class Number:
    """A number of one operation's body. `path` is where it stands, `body` the smallest body with MARK in its place.

    `also` are the other schemas that a number at the same place may follow.
    """

    operation: str
    media_type: str
    path: tuple[str, ...]
    schema: Schema
    body: Any
    also: tuple[Schema, ...] = ()

    def values(self) -> list[str]:
        """JSON of numbers that test it, each once."""
        return list(dict.fromkeys((ORDINARY.get(self.name, ordinary(self.schema)), *values(self.schema))))

    def is_allowed(self, value: str) -> bool:
        return any(is_allowed(schema, value) for schema in (self.schema, *self.also))

    @property
    def name(self) -> str:
        """The last field's name; a list's number has the name of the list."""
        return self.path[-1]

    def json(self, value: str) -> str:
        return json.dumps(self.body).replace(f'"{MARK}"', value)


def numbers(document: Schema, samples: Mapping[str, Any]) -> Iterator[Number]:
    """Every number of every request body, once for each schema that owns it. `samples` are values of fields by name.

    A content part that many bodies share is tested in the first SHARED of them, a chat and an embedding.
    """
    shared = Counter[tuple[str, ...]]()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                walk = _Walk(document, samples)
                found = {
                    (owner, at[-1], str(schema), _around(body, at[-1])): Number(path, media_type, at, schema, body)
                    for owner, at, schema, body in walk.leaves(content["schema"], ())
                }
                for owned, number in found.items():
                    if owned[0].endswith(("Part", "Params")) and (shared.update([owned]) or shared[owned] > SHARED):
                        continue
                    beside = [one for one in found.values() if one.path == number.path and one.body == number.body]
                    yield replace(number, also=tuple(one.schema for one in beside if one is not number))


def _around(body: Any, name: str) -> str:
    """The text between the field's name and its number: lists and keys."""
    return str(body).partition(MARK)[0].rpartition(name)[2]


class _Walk:
    def __init__(self, document: Schema, samples: Mapping[str, Any]) -> None:
        self._schemas, self._samples = document.get("components", {}).get("schemas", {}), samples

    def leaves(
        self, schema: Schema, path: tuple[str, ...], owner: str = "", seen: frozenset[str] = frozenset()
    ) -> Iterator[tuple[str, tuple[str, ...], Schema, Any]]:
        """(owner, path, schema, smallest value with MARK) of each number below."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name not in seen:
                yield from self.leaves(self._schemas[name], path, name, seen | {name})
            return
        for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
            yield from self.leaves(branch, path, owner, seen)
        if schema.get("type") in ("integer", "number"):
            yield owner, path, schema, MARK
        for wrap, inner, at in self._inside(schema, path):
            for of, found, leaf, value in self.leaves(inner, at, owner, seen):
                yield of, found, leaf, wrap(value)

    def _inside(
        self, schema: Schema, path: tuple[str, ...]
    ) -> Iterator[tuple[Callable[[Any], Any], Schema, tuple[str, ...]]]:
        at = path[-1] if path else ""
        for name, inner in schema.get("properties", {}).items():
            given = {**NEEDS.get(name, {}), **self._samples.get(f"{_kind(schema)} with {name}", {})}
            needs = {need: _fitting(schema, need, value) for need, value in given.items()}
            yield self._with_field(at, schema, name, needs), inner, (*path, name)
        if isinstance(items := schema.get("items"), Mapping):
            yield LISTS.get((at, schema.get("minItems"))) or _shortest_list(schema), items, path
        if isinstance(values := schema.get("additionalProperties"), Mapping):
            yield lambda value: {KEYS.get(at, "key"): value}, values, path

    def _with_field(
        self, parent: str, schema: Schema, name: str, needs: Mapping[str, Any]
    ) -> Callable[[Any], dict[str, Any]]:
        """Puts a value into the field `name` of the smallest object of the schema."""
        return lambda value: {**self._required(parent, schema), **needs, name: value}

    def _required(self, parent: str, schema: Schema) -> dict[str, Any]:
        """The fields that an object of this schema, the field `parent` of another, must have, and its medium, which a
        name may replace."""
        names = list(schema.get("required", ()))
        if (kind := _kind(schema)) in schema["properties"] and kind not in names:
            names.append(kind)
        return {one: self._sample(parent, one, schema["properties"][one]) for one in names}

    def _sample(self, parent: str, name: str, schema: Schema) -> Any:
        while "$ref" in (one := next(iter(schema.get("anyOf", ())), schema)):
            schema = self._schemas[one["$ref"].rpartition("/")[2]]
        if "const" in schema:
            return schema["const"]
        for known in (f"{parent}.{name}", name):
            if known in self._samples:
                return self._samples[known]
        if "enum" in schema:
            return schema["enum"][0]
        if "properties" in schema:
            return self._required(name, schema)
        raise LookupError(f"no sample of the required field {parent}.{name}")


def _shortest_list(schema: Schema) -> Callable[[Any], list[Any]]:
    """Repeats a value as often as the schema requires, at least once."""
    return lambda value: [value] * max(1, schema.get("minItems", 1))


def _kind(schema: Schema) -> str:
    """The only value of an object's `type`, "" where it has none."""
    return str(schema["properties"].get("type", {}).get("const", ""))


def _fitting(schema: Schema, name: str, value: Any) -> Any:
    """True as a number where the field `name` is one: `logprobs` of /v1/completions."""
    field = schema["properties"].get(name, {})
    kinds = [branch.get("type") for branch in field.get("anyOf", (field,))]
    return 1 if value is True and "integer" in kinds else value


def bounds(schema: Schema) -> tuple[float | None, float | None]:
    """The least and the greatest value that the schema allows; None where it names none."""
    step = 1 if schema["type"] == "integer" else None
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = _beside(schema["exclusiveMinimum"], math.inf, step)
    if "exclusiveMaximum" in schema:
        high = _beside(schema["exclusiveMaximum"], -math.inf, step)
    return low, high


def _beside(value: float, to: float, step: int | None) -> float:
    return math.nextafter(value, to) if step is None else value + int(math.copysign(step, to))


def values(schema: Schema) -> Iterator[str]:
    """JSON of numbers at both ends, just beyond them, their float32 images, and what no field can mean."""
    step = 1 if schema["type"] == "integer" else None
    for end, outward in zip(bounds(schema), (-math.inf, math.inf), strict=True):
        if end is not None:
            beyond = _beside(end, outward, step)
            yield from (_json(end), _json(beyond), _json(float(np.float32(end))))
            yield _json(float(np.nextafter(np.float32(end), np.float32(outward))))
    yield from ("-0.0", "1e-320", *HUGE, *NOT_FINITE)


def ordinary(schema: Schema) -> str:
    """A number within the range and beside its ends, where there is room."""
    low, high = bounds(schema)
    low, high = (min(0, high or 0) if low is None else low), (max(2, low or 0) if high is None else high)
    middle = (low + high) / 2
    return str(int(middle)) if schema["type"] == "integer" else repr(middle)


def _json(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)


def is_allowed(schema: Schema, text: str) -> bool:
    """Whether the schema allows the number. Integers are compared as such."""
    value = int(text) if text.lstrip("-").isdigit() else float(text)
    if not isinstance(value, int) and not math.isfinite(value):
        return False
    if schema["type"] == "integer" and value != int(value):
        return False
    low, high = bounds(schema)
    return (low is None or value >= low) and (high is None or value <= high)
