"""Examples in the written interface: requests that work, also as lines for curl, and an answer."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from service.gateway.openapi.examples import OPERATIONS
from service.gateway.openapi.examples.table import OperationExamples, RequestExample
from service.gateway.openapi.examples.values import PARAMETERS

_JSON, _FORM, _EVENTS = "application/json", "multipart/form-data", "text/event-stream"
ADDRESS = "http://127.0.0.1:8000"
_NONE = OperationExamples(())


def add_examples(spec: dict[str, Any]) -> None:
    """Put the table's examples into the document, in place. An endpoint without a row gets none."""
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            found = OPERATIONS.get(operation["operationId"], _NONE)
            content = operation.get("requestBody", {}).get("content", {})
            _add_requests(content, found)
            _add_answer(operation["responses"]["200"].get("content", {}), found)
            _add_parameters(operation.get("parameters", ()))
            if samples := list(_samples(method, path, content, found)):
                operation["x-codeSamples"] = samples


def _add_requests(content: dict[str, Any], found: OperationExamples) -> None:
    named = {
        f"request{at}": {"summary": one.summary, "value": one.body}
        for at, one in enumerate(found.requests, 1)
        if one.body is not None
    }
    for kind in content.values():
        if named:
            kind["examples"] = named


def _add_answer(content: dict[str, Any], found: OperationExamples) -> None:
    values = {_JSON: found.answer, _EVENTS: found.event}
    for kind, described in content.items():
        value = values.get(kind, found.text)
        if value is not None:
            described["examples"] = {"answer": {"value": value}}


def _add_parameters(parameters: Any) -> None:
    for parameter in parameters:
        if parameter["in"] == "path" and parameter["name"] in PARAMETERS:
            parameter["example"] = PARAMETERS[parameter["name"]]


def _samples(method: str, path: str, content: Mapping[str, Any], found: OperationExamples) -> Iterator[dict[str, str]]:
    form = content.get(_FORM, {}).get("schema")
    for one in found.requests:
        yield {"lang": "Shell", "label": one.summary, "source": _curl(method, path, one, form)}


def _curl(method: str, path: str, example: RequestExample, schema: Mapping[str, Any] | None) -> str:
    """`curl ...`; `schema` is that of a form's fields."""
    words = ["curl"]
    if example.body is not None and example.body.get("stream"):
        words.append("-N")
    if method.upper() not in ("GET", "POST") or (method.upper() == "POST" and example.body is None):
        words += ["-X", method.upper()]
    words.append(shlex.quote(_address(path, example.query)))
    if example.body is not None:
        words += _form_words(example.body, schema) if schema is not None else _json_words(example.body)
    return " ".join(words)


def _address(path: str, query: Mapping[str, Any]) -> str:
    for name, value in PARAMETERS.items():
        path = path.replace(f"{{{name}}}", quote(str(value)))
    return f"{ADDRESS}{path}" + (f"?{urlencode(query)}" if query else "")


def _json_words(body: Mapping[str, Any]) -> list[str]:
    return ["-H", f"'content-type: {_JSON}'", "-d", shlex.quote(json.dumps(body, ensure_ascii=False))]


def _form_words(body: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
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
