"""Every failure a caller can see: one table from code to status and type, one shape of body.

GatewayError            anything raised at the door; `code` picks status and type from the table
pandagpt_core errors    raised below the door; mapped by their `code`
validation errors       mapped to `invalid_request` with the field's path in `param`

A body holds no path, address, stack or text of the caller, and stays under 4 KB.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse

from pandagpt_core.errors import PandaGPTError
from service.broker.errors import BrokerError

MAX_MESSAGE_CHARS = 1000
MAX_PARAM_CHARS = 128


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One line of the error table."""

    status: int
    type: str
    retryable: bool | None = None  # the value of `x-should-retry`; None leaves it to the client


ERRORS: dict[str, ErrorRow] = {
    "invalid_request": ErrorRow(400, "invalid_request_error"),
    "invalid_media": ErrorRow(400, "invalid_request_error"),
    "unsupported_modality": ErrorRow(400, "invalid_request_error"),
    "context_length_exceeded": ErrorRow(400, "invalid_request_error"),
    "invalid_api_key": ErrorRow(401, "authentication_error"),
    "permission_denied": ErrorRow(403, "permission_error"),
    "not_found": ErrorRow(404, "invalid_request_error"),
    "model_not_found": ErrorRow(404, "invalid_request_error"),
    "file_not_found": ErrorRow(404, "invalid_request_error"),
    "request_not_found": ErrorRow(404, "invalid_request_error"),
    "batch_not_found": ErrorRow(404, "invalid_request_error"),
    "method_not_allowed": ErrorRow(405, "invalid_request_error"),
    "request_not_ended": ErrorRow(409, "invalid_request_error", retryable=True),
    "idempotency_conflict": ErrorRow(409, "invalid_request_error"),
    "file_in_use": ErrorRow(409, "invalid_request_error"),
    "head_timeout": ErrorRow(408, "invalid_request_error"),
    "body_timeout": ErrorRow(408, "invalid_request_error"),
    "too_large": ErrorRow(413, "invalid_request_error"),
    "headers_too_large": ErrorRow(431, "invalid_request_error"),
    "rate_limit_exceeded": ErrorRow(429, "rate_limit_error"),
    "internal_error": ErrorRow(500, "server_error"),
    "engine_error": ErrorRow(500, "server_error"),
    "worker_lost": ErrorRow(500, "server_error", retryable=False),
    "overloaded": ErrorRow(503, "overloaded_error"),
    "no_worker": ErrorRow(503, "overloaded_error"),
    "draining": ErrorRow(503, "overloaded_error"),
    "store_unavailable": ErrorRow(503, "overloaded_error"),
    "deadline_exceeded": ErrorRow(504, "server_error", retryable=False),
}
DEFAULT_RETRY_AFTER_S = 1.0


class GatewayError(Exception):
    """A refusal at the door. `code` is a row of `ERRORS`; `retry_after_s` is when to come back."""

    def __init__(
        self, code: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code if code in ERRORS else "internal_error"
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def row(self) -> ErrorRow:
        return ERRORS[self.code]


def from_core(error: PandaGPTError) -> GatewayError:
    """The same refusal as a row of the table. Errors of checkpoints and the like become `internal_error`."""
    if isinstance(error, BrokerError):
        return GatewayError(error.code, error.message, param=error.param, retry_after_s=error.retry_after)
    if error.code not in ERRORS or ERRORS[error.code].status >= 500:
        return GatewayError("internal_error", "The server failed to handle the request.")
    return GatewayError(error.code, error.message, param=error.param)


def error_object(error: GatewayError) -> dict[str, Any]:
    """The OpenAI-shaped body `{"error": {...}}`."""
    return {
        "error": {
            "message": error.message[:MAX_MESSAGE_CHARS],
            "type": error.row.type,
            "param": None if error.param is None else error.param[:MAX_PARAM_CHARS],
            "code": error.code,
        }
    }


def error_headers(error: GatewayError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if error.row.status in (429, 503):
        wait = DEFAULT_RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
        headers["retry-after"] = str(max(1, math.ceil(wait)))
        headers["retry-after-ms"] = str(max(1, math.ceil(wait * 1000)))
    if error.row.retryable is not None:
        headers["x-should-retry"] = str(error.row.retryable).lower()
    if error.row.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.row.status in (408, 413, 431):
        headers["connection"] = "close"  # the rest of the body is not read
    return headers


def error_response(error: GatewayError) -> JSONResponse:
    return JSONResponse(error_object(error), status_code=error.row.status, headers=error_headers(error))


# Lists whose items are tagged unions: the tag follows the index in an error's path. `input` may hold messages too.
_TAGGED = ("content", "input", "query", "documents", "text_1", "text_2")
_SAFE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def param_of(loc: Sequence[int | str]) -> str | None:
    """A field's path as OpenAI writes it: `messages[0].content[1].image_url.url`.

    Names that are not plain identifiers come from the caller and are left out, for an error never echoes input.
    """
    path, skip = "", False
    for at, item in enumerate(loc):
        tag, skip = skip and item != "content", False
        if tag:
            continue
        if isinstance(item, int):
            path += f"[{item}]"
            skip = at > 0 and loc[at - 1] in _TAGGED
        elif _SAFE_NAME.fullmatch(item):
            path += f".{item}" if path else item
    return path or None


# pydantic's error type -> our message; `{limit}` is filled from the error's context
_REASONS = {
    "missing": "is required",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "too_long": "must have at most {max_length} items, not {actual_length}",
    "too_short": "must have at least {min_length} items, not {actual_length}",
    "string_too_long": "must be at most {max_length} characters long",
    "string_too_short": "must be at least {min_length} characters long",
    "string_pattern_mismatch": "must have the form {pattern}",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "union_tag_invalid": "has a type that is not one of {expected_tags}",
    "union_tag_not_found": "needs a type",
    "json_invalid": "is not valid JSON",
    "json_type": "is not valid JSON",
    "extra_forbidden": "is not a known field",
}
_TYPES = {
    "int": "must be an integer",
    "float": "must be a number",
    "bool": "must be true or false",
    "string": "must be a string",
    "list": "must be a list",
    "model": "must be an object",
    "dict": "must be an object",
    "none": "must be null",
}


def invalid_request(errors: Sequence[Mapping[str, Any]], *, skip: int = 0, at: str = "") -> GatewayError:
    """The first of pydantic's errors as a refusal.

    `skip` drops leading path items such as FastAPI's "body"; `at` is the field that the path starts from.
    """
    first = errors[0]
    loc, kind, context = tuple(first["loc"])[skip:], str(first["type"]), dict(first.get("ctx", {}))
    ours = context.get("error") if kind == "value_error" else None
    if isinstance(ours, FieldError):
        loc = (*loc, *ours.within, ours.field)
    path = param_of(loc) or ""
    param = (f"{at}{path}" if path.startswith("[") or not at or not path else f"{at}.{path}") or None
    if isinstance(ours, FieldError):
        reason = str(ours)
    else:
        template = _REASONS.get(kind) or _TYPES.get(kind.split("_")[0], "is not valid")
        reason = template.format_map(_Blank(context))
    more = f" ({len(errors) - 1} more fields are wrong.)" if len(errors) > 1 else ""
    return GatewayError("invalid_request", f"{param or 'The body'} {reason}.{more}", param=param)


class FieldError(ValueError):
    """Raised by our own validators of whole objects: the field that is wrong, and a reason that may be shown.

    `within`: the way to the field's object as pydantic writes it, where an item of a tagged list has its tag behind it.
    """

    def __init__(self, field: str, reason: str, within: tuple[int | str, ...] = ()) -> None:
        super().__init__(reason)
        self.field, self.within = field, within


class _Blank(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "the allowed value"
