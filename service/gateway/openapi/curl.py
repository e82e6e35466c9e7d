"""A request of the table of examples as a line for a shell."""

import json
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from service.gateway.openapi.examples.table import RequestExample

ADDRESS = "http://127.0.0.1:8000"
_JSON, _FORM = "application/json", "multipart/form-data"


def curl(
    method: str, path: str, values: Mapping[str, Any], example: RequestExample, schema: Mapping[str, Any] | None
) -> str:
    """`curl ...`; `values` are those of the path's parameters, `schema` is that of a form's fields."""
    words = ["curl"]
    if example.body is not None and example.body.get("stream"):
        words.append("-N")
    if method.upper() not in ("GET", "POST") or (method.upper() == "POST" and example.body is None):
        words += ["-X", method.upper()]
    words.append(shlex.quote(_address(path, values, example.query)))
    if example.body is not None:
        words += _form(example.body, schema) if schema is not None else _json(example.body)
    return " ".join(words)


def _address(path: str, values: Mapping[str, Any], query: Mapping[str, Any]) -> str:
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", quote(str(value)))
    return f"{ADDRESS}{path}" + (f"?{urlencode(query)}" if query else "")


def _json(body: Mapping[str, Any]) -> list[str]:
    return ["-H", f"'content-type: {_JSON}'", "-d", shlex.quote(json.dumps(body, ensure_ascii=False))]


def _form(body: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in body.items():
        sign = "@" if is_file(schema["properties"][name]) else ""
        for one in value if isinstance(value, list) else [value]:
            text = json.dumps(one) if isinstance(one, bool) else one
            words += ["-F", shlex.quote(f"{name}={sign}{text}")]
    return words


def is_file(field: Mapping[str, Any]) -> bool:
    """Whether a form's field holds files."""
    return bool({"format": "binary"}.items() <= field.get("items", field).items())
