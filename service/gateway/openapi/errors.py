"""Errors in the written interface: one answer for each status of the error table, with an example of each code."""

from typing import Any

from service.gateway.errors import ERRORS, GatewayError, error_object
from service.gateway.openapi.examples.errors import ERROR_EXAMPLES

_SCHEMA = {"$ref": "#/components/schemas/Error"}


def add_errors(spec: dict[str, Any]) -> None:
    """The answers of the table as components, and a reference to each in every operation, in place."""
    answers = {str(status): _answer(codes) for status, codes in sorted(_codes_by_status().items())}
    spec["components"]["responses"] = {f"Error{status}": answer for status, answer in answers.items()}
    references = {status: {"$ref": f"#/components/responses/Error{status}"} for status in answers}
    for methods in spec["paths"].values():
        for operation in methods.values():
            good = {status: answer for status, answer in operation["responses"].items() if status == "200"}
            operation["responses"] = good | references


def _codes_by_status() -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for code, row in ERRORS.items():
        found.setdefault(row.status, []).append(code)
    return found


def _answer(codes: list[str]) -> dict[str, Any]:
    examples = {code: {"value": _example(code)} for code in codes}
    content = {"application/json": {"schema": _SCHEMA, "examples": examples}}
    return {"description": ", ".join(codes), "content": content}


def _example(code: str) -> dict[str, Any]:
    message, param = ERROR_EXAMPLES[code]
    return error_object(GatewayError(code, message, param=param))
