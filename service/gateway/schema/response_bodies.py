"""The body of POST /v1/responses, and the response object."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from service.gateway.schema.body import PartModel
from service.gateway.schema.content_parts import MAX_TEXT, Message
from service.gateway.schema.requests import MAX_MESSAGES, ModelName, Sampling, Tokens
from service.gateway.schema.response_input import as_messages
from service.gateway.schema.response_tools import ResponseToolChoice, ResponseTools
from service.gateway.schema.structured import ResponseFormat


def _as_format(value: object) -> object:
    """The schema stands beside `type` here, in chat completions one level deeper."""
    if isinstance(value, dict) and value.get("type") == "json_schema" and "json_schema" not in value:
        return {"type": "json_schema", "json_schema": {name: one for name, one in value.items() if name != "type"}}
    return value


class TextOptions(PartModel):
    """How the text is written; `verbosity` changes nothing."""

    format: Annotated[
        ResponseFormat | None,
        BeforeValidator(_as_format, json_schema_input_type=ResponseFormat | dict[str, Any] | None),
    ] = Field(default=None, description='{"type": "text"}, "json_object", or "json_schema" with name and schema')


Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=16),
]
ResponseId = Annotated[str, StringConstraints(pattern=r"^resp_[0-9a-f]{32}$")]


class ResponseBody(Sampling):
    """POST /v1/responses: an answer that is kept, so that it can be looked up and gone on with."""

    model: ModelName | None = None
    input: Annotated[
        list[Message],
        Field(min_length=1, max_length=MAX_MESSAGES),
        BeforeValidator(as_messages, json_schema_input_type=str | list[dict[str, Any]]),
    ] = Field(
        description="A text, or items: messages of input_text, input_image, input_audio, input_file or our parts; "
        "function_call, function_call_output"
    )
    instructions: Annotated[str, StringConstraints(max_length=MAX_TEXT)] | None = Field(
        default=None, description="A system message for this response alone"
    )
    previous_response_id: ResponseId | None = Field(
        default=None, description="The response whose conversation this goes on with; its own instructions are left out"
    )
    max_output_tokens: Tokens | None = Field(default=None, description="Most tokens of the answer (tokens)")
    text: TextOptions | None = None
    tools: ResponseTools | None = None
    tool_choice: ResponseToolChoice | None = None
    parallel_tool_calls: bool | None = None
    background: bool | None = Field(default=None, description="Answer at once, and run on without a reader")
    store: bool | None = Field(default=None, description="Keep it as long as the request's events; true")
    metadata: Metadata | None = Field(default=None, description="Your own names and values, given back")


class OutputText(BaseModel):
    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[Any]


class OutputMessage(BaseModel):
    id: str
    type: Literal["message"]
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"]
    content: list[OutputText]


class OutputFunctionCall(BaseModel):
    """A call to be made; its result comes back as a `function_call_output` with the same `call_id`."""

    id: str
    type: Literal["function_call"]
    status: Literal["in_progress", "completed", "incomplete"]
    call_id: str
    name: str
    arguments: str = Field(description="JSON text")


OutputItem = Annotated[OutputMessage | OutputFunctionCall, Field(discriminator="type")]


class InputDetails(BaseModel):
    cached_tokens: int


class OutputDetails(BaseModel):
    reasoning_tokens: int


class ResponseUsage(BaseModel):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ResponseError(BaseModel):
    code: str
    message: str


class IncompleteDetails(BaseModel):
    reason: Literal["max_output_tokens"]


class ResponseObject(BaseModel):
    """With `stream`, events whose `sequence_number` grows by one, of the same kinds as OpenAI's."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["queued", "in_progress", "completed", "incomplete", "cancelled", "failed"]
    background: bool
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    store: bool
    temperature: float | None
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[Any]
    top_p: float | None
    truncation: Literal["disabled"]
    usage: ResponseUsage | None
    metadata: dict[str, str]


class DeletedResponse(BaseModel):
    id: str
    object: Literal["response"]
    deleted: bool
