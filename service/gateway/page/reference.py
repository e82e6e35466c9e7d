"""/docs: the written interface as one page of HTML, without scripts and without anything from elsewhere.

Every endpoint with its parameters, fields, content parts, a line for the shell, an answer; the errors once, at the end.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

Json = Mapping[str, Any]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 code { background: #eee; padding: .2rem .4rem; } table { border-collapse: collapse; margin: .5rem 0; }
td, th { border: 1px solid #ccc; padding: .2rem .6rem; vertical-align: top; text-align: left; }
pre { background: #eee; padding: .5rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } h2 code, pre { background: #333; } }
"""


def page(spec: Json) -> str:
    """The page for an OpenAPI document."""
    title = escape(f"{spec['info']['title']} {spec['info']['version']}")
    body = "\n".join([*_operations(spec), *_parts(spec), *_errors(spec)])
    about = escape(spec["info"].get("description", ""))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>{about} The same for machines: <a href=/openapi.json>/openapi.json</a>.</p>"
        "<p><a href=#parts>Content parts</a> · <a href=#errors>Errors</a></p>"
        f"{body}</html>"
    )


def _operations(spec: Json) -> Iterator[str]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            yield from _lines(operation)
            parameters = operation.get("parameters", ())
            described = ((one["name"], {**one["schema"], "description": one["description"]}) for one in parameters)
            yield from _table("In the address and the head", described)
            content = operation.get("requestBody", {}).get("content", {})
            yield from _table("Fields", _fields(spec, next((kind["schema"] for kind in content.values()), {})))
            yield from _answers(spec, operation["responses"]["200"].get("content", {}))


def _lines(operation: Json) -> Iterator[str]:
    for sample in operation.get("x-codeSamples", ()):
        yield f"<p>{escape(sample['label'])}:</p><pre>{escape(sample['source'])}</pre>"


def _answers(spec: Json, content: Json) -> Iterator[str]:
    for kind, answer in content.items():
        yield from _table(f"Answer as {kind}", _fields(spec, answer["schema"]))
        for example in answer.get("examples", {}).values():
            value = example["value"]
            text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
            yield f"<details><summary>Example</summary><pre>{escape(text)}</pre></details>"


def _parts(spec: Json) -> Iterator[str]:
    yield "<h1 id=parts>Content parts</h1>"
    for name, schema in spec["components"]["schemas"].items():
        kind = schema.get("properties", {}).get("type", {}).get("const")
        if name.endswith("Part") and kind:
            yield f"<h2><code>{escape(kind)}</code></h2><p>{escape(schema.get('description', ''))}</p>"
            yield from _table("Fields", schema["properties"].items())


def _errors(spec: Json) -> Iterator[str]:
    yield "<h1 id=errors>Errors</h1>"
    for name, answer in spec["components"].get("responses", {}).items():
        yield f"<h2>{escape(name.removeprefix('Error'))}</h2>"
        for example in answer["content"]["application/json"]["examples"].values():
            yield f"<pre>{escape(json.dumps(example['value'], ensure_ascii=False))}</pre>"


def _table(title: str, fields: Iterable[tuple[str, Json]]) -> Iterator[str]:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{escape(_type(field))}<td>{escape(field.get('description', ''))}"
        for name, field in fields
    )
    if rows:
        yield f"<p>{escape(title)}:</p><table>{rows}</table>"


def _fields(spec: Json, schema: Json) -> Iterable[tuple[str, Json]]:
    """The fields of an object."""
    if "$ref" in schema:
        schema = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    fields: Json = schema.get("properties", {})
    return fields.items()


def _type(field: Json) -> str:
    if "anyOf" in field:
        return " or ".join(kind for one in field["anyOf"] if (kind := _type(one)) != "null")
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"])
    bounds = [f"{sign} {field[name]}" for name, sign in _BOUNDS.items() if name in field]
    items = f" of {_type(field['items'])}" if field.get("type") == "array" and "items" in field else ""
    return f"{field.get('type', 'any')}{items} {', '.join(bounds)}".strip()


_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "maxItems": "at most"}
