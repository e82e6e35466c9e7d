"""/docs: the written interface as one page of HTML, without scripts and without anything from elsewhere."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 code { background: #eee; padding: .2rem .4rem; } table { border-collapse: collapse; }
td { border: 1px solid #ccc; padding: .2rem .6rem; vertical-align: top; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } h2 code { background: #333; } }
"""


def page(spec: Mapping[str, Any]) -> str:
    """The page for an OpenAPI document."""
    title = escape(f"{spec['info']['title']} {spec['info']['version']}")
    body = "\n".join(_operations(spec))
    about = escape(spec["info"].get("description", ""))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>{about} The same for machines: <a href=/openapi.json>/openapi.json</a>.</p>{body}</html>"
    )


def _operations(spec: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            fields = _fields(spec, operation)
            if fields:
                rows = "".join(f"<tr><td>{escape(name)}<td>{escape(kind)}" for name, kind in fields.items())
                yield f"<table>{rows}</table>"


def _fields(spec: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, str]:
    """The names and types of the body's fields."""
    content = operation.get("requestBody", {}).get("content", {})
    schema: Mapping[str, Any] = next((kind["schema"] for kind in content.values()), {})
    if "$ref" in schema:
        schema = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return {name: _type(field) for name, field in schema.get("properties", {}).items()}


def _type(field: Mapping[str, Any]) -> str:
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
