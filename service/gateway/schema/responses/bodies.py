"""The body of POST /v1/responses, and the response object."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from service.gateway.schema.answers import AnswerWarnings, LocatedObject, ModelId
from service.gateway.schema.body import PartModel
from service.gateway.schema.content_parts import MAX_TEXT, Message
from service.gateway.schema.requests import MAX_MESSAGES
from service.gateway.schema.responses.input import as_messages
from service.gateway.schema.responses.tools import ResponseToolChoice, ResponseTools
from service.gateway.schema.sampling import ModelName, Sampling, TokenLimit
from service.gateway.schema.structured import ResponseFormat


def _as_format(value: object) -> object:
    """The schema stands beside `type` here, in chat completions one level deeper."""
    if isinstance(value, dict) and value.get("type") == "json_schema" and "json_schema" not in value:
        return {"type": "json_schema", "json_schema": {name: one for name, one in value.items() if name != "type"}}
    return value


class TextOptions(PartModel):
    """Form of the text; `verbosity` changes nothing."""

    format: Annotated[
        ResponseFormat | None,
        BeforeValidator(_as_format, json_schema_input_type=ResponseFormat | dict[str, Any] | None),
    ] = Field(
        default=None,
        description='{"type": "text"}, "json_object", or "json_schema" with name and schema. Default: text.',
    )


Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=16),
]
ResponseId = Annotated[str, StringConstraints(pattern=r"^resp_[0-9a-f]{32}$")]


class ResponseBody(Sampling):
    """POST /v1/responses: an answer that is kept, so that it can be looked up and gone on with."""

    model: ModelName = None
    input: Annotated[
        list[Message],
        Field(min_length=1, max_length=MAX_MESSAGES),
        BeforeValidator(as_messages, json_schema_input_type=str | list[dict[str, Any]]),
    ] = Field(
        description="A text, or items: messages of input_text, input_image, input_audio, input_file or our parts; "
        "function_call, function_call_output"
    )
    instructions: Annotated[str, StringConstraints(max_length=MAX_TEXT)] | None = Field(
        default=None, description="A system message for this response alone. Default: none."
    )
    previous_response_id: ResponseId | None = Field(
        default=None,
        description="The response whose conversation this goes on with; its own instructions are left out. "
        "Default: none.",
    )
    max_output_tokens: TokenLimit | None = Field(
        default=None, description="Longest answer (tokens). Default: the model's own, else 256."
    )
    text: TextOptions | None = Field(default=None, description="Form of the text. Default: text without a form.")
    tools: ResponseTools | None = Field(
        default=None, description="Functions that the answer may call, up to 128. Default: none."
    )
    tool_choice: ResponseToolChoice | None = Field(
        default=None, description="`none`, `auto`, `required`, a function, or `allowed_tools`. Default: auto."
    )
    parallel_tool_calls: bool | None = Field(
        default=None, description="Whether one answer may call several functions. Default: true."
    )
    background: bool | None = Field(
        default=None, description="Answer at once, and run on without a reader. Default: false."
    )
    store: bool | None = Field(default=None, description="Keep it as long as the request's events. Default: true.")
    metadata: Metadata | None = Field(default=None, description="Your own names and values, given back. Default: none.")


class OutputText(BaseModel):
    """Text of an answer."""

    type: Literal["output_text"]
    text: str = Field(description="The text")
    annotations: list[Any] = Field(description="Always empty")
    logprobs: list[Any] = Field(description="Log probabilities, where they were asked for")


class OutputMessage(BaseModel):
    """The answer as a message."""

    id: str = Field(description="The message's name")
    type: Literal["message"]
    status: Literal["in_progress", "completed", "incomplete"] = Field(description="Its state")
    role: Literal["assistant"]
    content: list[OutputText] = Field(description="The text")
    objects: list[LocatedObject] = Field(default=[], description="Of a model that names places: what is where")
    malformed_boxes: list[str] = Field(default=[], description="Texts that look like a box and are none")
    annotated: str = Field(default="", description="With annotate: where the picture with its boxes is")


class OutputFunctionCall(BaseModel):
    """A call to be made; its result comes back as a `function_call_output` with the same `call_id`."""

    id: str = Field(description="The item's name")
    type: Literal["function_call"]
    status: Literal["in_progress", "completed", "incomplete"] = Field(description="Its state")
    call_id: str = Field(description="The name for `call_id` of the item with its result")
    name: str = Field(description="The function")
    arguments: str = Field(description="JSON text")


OutputItem = Annotated[OutputMessage | OutputFunctionCall, Field(discriminator="type")]


class InputDetails(BaseModel):
    """Of the tokens read."""

    cached_tokens: int = Field(description="Read before (tokens)")


class OutputDetails(BaseModel):
    """Of the tokens written."""

    reasoning_tokens: int = Field(description="Always 0 (tokens)")


class ResponseUsage(BaseModel):
    """Counts of tokens read and written."""

    input_tokens: int = Field(description="Read: prompt and media (tokens)")
    input_tokens_details: InputDetails = Field(description="Of these")
    output_tokens: int = Field(description="Written (tokens)")
    output_tokens_details: OutputDetails = Field(description="Of these")
    total_tokens: int = Field(description="Both together (tokens)")


class ResponseError(BaseModel):
    """The reason why a response failed."""

    code: str = Field(description="A row of the error table")
    message: str = Field(description="The error in words")


class IncompleteDetails(BaseModel):
    """The reason why a response is incomplete."""

    reason: Literal["max_output_tokens"]


class ResponseObject(BaseModel):
    """With `stream`, events whose `sequence_number` grows by one, of the same kinds as OpenAI's."""

    id: str = Field(description="The response's name; `resp_` and the request's id")
    object: Literal["response"]
    created_at: int = Field(description="Time it was made (Unix seconds)")
    status: Literal["queued", "in_progress", "completed", "incomplete", "cancelled", "failed"] = Field(
        description="Its state"
    )
    background: bool = Field(description="As it was sent")
    error: ResponseError | None = Field(description="The error of a failed one, else null")
    incomplete_details: IncompleteDetails | None = Field(description="The reason of an incomplete one, else null")
    instructions: str | None = Field(description="As they were sent")
    max_output_tokens: int | None = Field(description="As it was sent (tokens)")
    model: ModelId
    output: list[OutputItem] = Field(description="The answer; empty until it began")
    parallel_tool_calls: bool = Field(description="As it was sent")
    previous_response_id: str | None = Field(description="The response that this one goes on with")
    store: bool = Field(description="Whether it is kept")
    temperature: float | None = Field(description="As it was sent (no unit)")
    text: dict[str, Any] = Field(description="The format of the text, as it was sent")
    tool_choice: str | dict[str, Any] = Field(description="As it was sent")
    tools: list[Any] = Field(description="As they were sent")
    top_p: float | None = Field(description="As it was sent (probability)")
    truncation: Literal["disabled"]
    usage: ResponseUsage | None = Field(description="Counts of tokens read and written; null until it has ended")
    metadata: dict[str, str] = Field(description="As it was sent")
    fields: dict[str, Any] = Field(default={}, description="Of a model that reads structured fields out of its answers")
    warnings: AnswerWarnings = None


class DeletedResponse(BaseModel):
    """A response that is gone."""

    id: str = Field(description="The name it had")
    object: Literal["response"]
    deleted: bool = Field(description="Always true")
