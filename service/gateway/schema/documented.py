"""A route's declarations of its body and its answer, for the written interface. Errors are the same for all routes."""

from typing import Any

from pydantic import BaseModel, Field

EVENTS = "text/event-stream"
# Of one event, as tools that read OpenAPI 3.1 take it.
_EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$", "description": "Grows by one"},
        "data": {"type": "string", "description": "A chunk or an error as JSON; [DONE] last"},
    },
}


class ErrorDetail(BaseModel):
    """An error."""

    message: str = Field(description="For a person: the limit and the value; no path, address or input")
    type: str = Field(description="The kind, as OpenAI has it")
    param: str | None = Field(description="The field's path, as `messages[0].content[1].image_url.url`")
    code: str = Field(description="A row of the error table, for programs")


class Error(BaseModel):
    """Every error's body."""

    error: ErrorDetail = Field(description="The error")


def documented(answer: type[BaseModel] | None, *kinds: str) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: its good answer.

    `answer` is the JSON that it may give, `kinds` the other content types. A route without JSON has
    `response_class=Response` too.
    """
    good: dict[str, Any] = {"description": "The answer"}
    if answer is not None:
        good["model"] = answer
    if kinds:
        good["content"] = {kind: {"schema": _EVENT if kind == EVENTS else _text(kind)} for kind in kinds}
    return {200: good}


def json_body(model: str) -> dict[str, Any]:
    """`openapi_extra` of a route that parses its own JSON body of that schema."""
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def form_body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The same of a route that reads a form of these fields."""
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def file_field(about: str) -> dict[str, Any]:
    """A form's field of files, which may be repeated."""
    return {"type": "array", "items": {"type": "string", "format": "binary"}, "description": about}


def _text(kind: str) -> dict[str, str]:
    return {"type": "string"} if kind.startswith("text/") else {"type": "string", "format": "binary"}
