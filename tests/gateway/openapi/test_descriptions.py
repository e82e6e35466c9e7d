"""Every field of every body, form, answer and address says what it is: with its unit, and what holds without it.

A new field brings `Field(description=...)` in `service/gateway/schema`, a parameter of a medium its words in the
registry of modalities, a word of an address `Query`, `Path` or `Header(description=...)`.
"""

import re
from collections.abc import Iterator

from tests.gateway.openapi.walk import Json, operations

# Units of a number, in brackets in its description.
UNITS = [
    "tokens",
    "seconds",
    "bytes",
    "pixels",
    "characters",
    "choices",
    "media",
    "requests",
    "files",
    "batches",
    "inputs",
    "documents",
    "lines",
    "pairs",
    "numbers",
    "events",
    "attempts",
    "rows",
    "Hz",
    "m",
    "1/m",
    "probability",
    "share",
    "messages",
]
PHRASES = ("Unix seconds", "natural logarithm", "no unit", "the picture's unit", "share of the sides", "as `unit` says")
UNIT = re.compile(rf"\((?:[^()]*\b)?(?:{'|'.join(map(re.escape, [*UNITS, *PHRASES, 'in the parameter']))})\b[^()]*\)")


def properties(node: object, where: str = "") -> Iterator[tuple[str, str, Json, bool]]:
    """Place, name, schema and whether it is required, of every property of every schema."""
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict) and "example" not in where:
            for name, field in node["properties"].items():
                yield where, name, field, name in node.get("required", ())
        for name, below in node.items():
            if name not in ("example", "examples"):
                yield from properties(below, f"{where}/{name}")
    elif isinstance(node, list):
        for at, below in enumerate(node):
            yield from properties(below, f"{where}/{at}")


def kinds(field: Json) -> list[Json]:
    return field.get("anyOf") or field.get("oneOf") or [field]


def is_number(field: Json) -> bool:
    return any(kind.get("type") in ("integer", "number") for kind in kinds(field))


def of_requests(spec: Json) -> set[str]:
    """The names of the schemas that bodies of requests are made of."""
    found: set[str] = set()
    wanted = [str(operation.get("requestBody", "")) for _, operation in operations(spec)]
    while wanted:
        for name in re.findall(r"#/components/schemas/(\w+)", wanted.pop()):
            if name not in found:
                found.add(name)
                wanted.append(str(spec["components"]["schemas"][name]))
    return found


def sent(spec: Json) -> Iterator[tuple[str, str, Json, bool]]:
    """The properties of what callers send."""
    names = of_requests(spec)
    for where, name, field, required in properties(spec):
        schema = where.removeprefix("/components/schemas/")
        if "requestBody" in where or schema.partition("/")[0] in names:
            yield where, name, field, required


def test_every_property_and_form_field_is_described(spec: Json) -> None:
    found = list(properties(spec))
    assert len(found) > 400
    bare = [f"{where}: {name}" for where, name, field, _ in found if not field.get("description", "").strip()]
    assert bare == [], "give each Field(description=...) in service/gateway/schema"


def test_every_parameter_of_an_address_is_described(spec: Json) -> None:
    bare = [
        f"{name}: {parameter['name']}"
        for name, operation in operations(spec)
        for parameter in operation.get("parameters", ())
        if not parameter.get("description", "").strip()
    ]
    assert bare == [], "give each Path, Query or Header(description=...) in its route"


def test_every_number_has_its_unit(spec: Json) -> None:
    bare = [
        f"{where}: {name}: {field['description']}"
        for where, name, field, _ in properties(spec)
        if is_number(field) and name not in ("user", "priority", "value") and not UNIT.search(field["description"])
    ]
    assert bare == [], f"end the description by a unit in brackets, one of {[*UNITS, *PHRASES]}"


def test_every_number_that_is_sent_has_a_range(spec: Json) -> None:
    low, high = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
    free = [
        f"{where}: {name}"
        for where, name, field, _ in sent(spec)
        for kind in kinds(field)
        if kind.get("type") in ("integer", "number") and not (low & set(kind) and high & set(kind))
    ]
    assert free == [], "give each Field(ge=..., le=...)"


def test_every_field_that_may_be_left_out_says_what_holds_then(spec: Json) -> None:
    silent = [
        f"{where}: {name}: {field['description']}"
        for where, name, field, required in sent(spec)
        if not required
        and "const" not in field
        and field.get("default") is None
        and not re.search(r"Default[:,] ", field["description"])
    ]
    assert silent == [], "end the description by `Default: ...`, or give the field a default of its own"


def test_parameters_of_media_have_the_words_of_the_registry(spec: Json) -> None:
    form = spec["paths"]["/v1/generate"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    described = form["properties"]["depth_focal_px"]["description"]
    assert described.startswith("The camera's focal length (pixels). Default: ")
    assert spec["components"]["schemas"]["DepthParams"]["properties"]["focal_px"]["description"] == described
