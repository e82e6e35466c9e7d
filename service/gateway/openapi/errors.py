"""Errors in the written interface: one answer for each status of the error table, with an example of each code."""

from typing import Any

from service.gateway.errors import ERRORS, GatewayError, error_object

# An example of each row of the error table: message and param, as they are given.
ERROR_EXAMPLES: dict[str, tuple[str, str | None]] = {
    "invalid_request": ("temperature must be at most 100.0.", "temperature"),
    "invalid_media": (
        "messages[0].content[0].image_url.url: the picture is none of JPEG, PNG, WEBP, GIF, BMP, TIFF, HEIF, AVIF; the "
        "file is text",
        "messages[0].content[0].image_url.url",
    ),
    "unsupported_modality": ("The model does not take audio.", "audio"),
    "context_length_exceeded": (
        "This model's maximum context length is 2048 tokens. However, the prompt has 3000 tokens.",
        "messages",
    ),
    "invalid_api_key": ("The key is not valid.", None),
    "permission_denied": ("This key may not use this endpoint (infer).", None),
    "not_found": ("There is no such endpoint.", None),
    "model_not_found": ("There is no such model.", "model"),
    "file_not_found": ("There is no such file.", None),
    "request_not_found": ("no request of this id", None),
    "batch_not_found": ("There is no such batch.", None),
    "method_not_allowed": ("This endpoint does not take this method.", None),
    "request_not_ended": ("The request has not ended yet.", None),
    "idempotency_conflict": ("This Idempotency-Key was used for another request.", None),
    "file_in_use": ("batch_1f reads the file until it has ended; cancel it first.", None),
    "head_timeout": ("The request's head did not arrive within 10 seconds.", None),
    "body_timeout": ("The body did not arrive within 120 seconds.", None),
    "too_large": ("The image is larger than the limit of 134217728 bytes.", "image"),
    "headers_too_large": ("The head is larger than 32768 bytes.", None),
    "rate_limit_exceeded": ("The limit of this key is 60 requests a minute.", None),
    "internal_error": ("The server failed to handle the request.", None),
    "engine_error": ("the model failed on this request", None),
    "worker_lost": ("The request was given up after 3 attempts.", None),
    "overloaded": ("256 requests wait for panda-mini; at most 256 may", None),
    "no_worker": ("no worker serves this model now", None),
    "draining": ("this gateway is going away; try again", None),
    "store_unavailable": ("The store cannot be reached.", None),
    "deadline_exceeded": ("The request took longer than its deadline.", None),
}
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
