"""Examples in the written interface: requests that work, an answer, the same for curl."""

from collections.abc import Iterator, Mapping
from typing import Any

from service.gateway.openapi.curl import curl
from service.gateway.openapi.examples.operations import OPERATIONS
from service.gateway.openapi.examples.table import OperationExamples
from service.gateway.openapi.examples.values import PARAMETERS

_JSON, _FORM, _EVENTS = "application/json", "multipart/form-data", "text/event-stream"
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
        yield {"lang": "Shell", "label": one.summary, "source": curl(method, path, PARAMETERS, one, form)}
