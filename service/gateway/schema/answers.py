"""The shapes of answers, for the written interface. Answers themselves are built by folds and routes as plain data."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model

from pandagpt_core.modalities import MODALITIES

RequestId = Annotated[str, Field(description="The request's name, also under /v1/requests")]
Created = Annotated[int, Field(description="Time it was made (Unix seconds)")]
ModelId = Annotated[str, Field(description="The model that answered")]
Fingerprint = Annotated[
    str | None, Field(description="While it stays the same, the same seed and request give the same tokens")
]
AnswerWarnings = Annotated[
    list[str] | None, Field(description="Readers' notes on the media, each after its field's name")
]
FirstId = Annotated[str | None, Field(description="Of this page's first; null of an empty one")]
LastId = Annotated[str | None, Field(description="Of this page's last, for `after`; null of an empty one")]
HasMore = Annotated[bool, Field(description="Whether another page follows")]


class _Details(BaseModel):
    """The prompt's tokens and media."""

    cached_tokens: int = Field(description="Of the prompt, read before (tokens)")
    cached_items: int = Field(description="Media whose vectors were known (media)")


def _count(name: str) -> Any:
    return Field(description=f"Media of the modality {name} (media)")


if TYPE_CHECKING:
    Details = _Details
else:  # the counts follow from the registry
    Details = create_model(
        "Details",
        __base__=_Details,
        __doc__=_Details.__doc__,
        **{f"{name}_items": (int, _count(name)) for name in MODALITIES},
    )


class MediaSpans(BaseModel):
    """The parts of a long medium that were looked at."""

    modality: str = Field(description="The medium's modality")
    seconds: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        description="Begin and end of each part (seconds)"
    )


class Usage(BaseModel):
    """Counts of tokens read and written."""

    prompt_tokens: int = Field(description="Read: prompt and media (tokens)")
    completion_tokens: int = Field(description="Written, of all choices together (tokens)")
    total_tokens: int = Field(description="Both together (tokens)")
    prompt_tokens_details: Details = Field(description="Of the prompt")
    media_spans: list[MediaSpans] | None = Field(
        default=None, description="Of long sounds, videos and recordings: what was looked at"
    )


class TopLogprob(BaseModel):
    """A token that could have been chosen."""

    token: str = Field(description="Its text")
    logprob: float = Field(description="Its log probability (natural logarithm)")
    bytes: list[int] | None = Field(description="Its own bytes; all tokens' bytes together are the text (bytes)")


class ChatCompletionTokenLogprob(TopLogprob):
    """The token that was chosen."""

    top_logprobs: list[TopLogprob] = Field(description="The likeliest at its place, `top_logprobs` of them")


class Logprobs(BaseModel):
    """Log probabilities of a choice."""

    content: list[ChatCompletionTokenLogprob] = Field(description="One a token")
    refusal: str | None = Field(description="Always null")


class PixelBox(BaseModel):
    """A box from the picture's top left corner."""

    x0: float = Field(description="Left (pixels)")
    y0: float = Field(description="Top (pixels)")
    x1: float = Field(description="Right (pixels)")
    y1: float = Field(description="Bottom (pixels)")


class LocatedObject(BaseModel):
    """A place that the answer names."""

    label: str | None = Field(description="The phrase before the box; null where there is none")
    box: PixelBox | None = Field(
        description="In pixels of the last picture as a viewer shows it; null without a picture"
    )
    box_norm: list[float] = Field(description="Left, top, right, bottom (share of the sides, 0 to 1)")


class FunctionCall(BaseModel):
    """A call of a function."""

    name: str = Field(description="The function")
    arguments: str = Field(description="JSON text")


class FunctionToolCall(BaseModel):
    """A call of a tool, which is a function."""

    id: str = Field(description="The name for `tool_call_id` of the message with its result")
    type: Literal["function"]
    function: FunctionCall = Field(description="The call")


class AssistantMessage(BaseModel):
    """The answer.

    In a stream a delta has the objects that its text completes, and one at the end has `malformed_boxes` and
    `annotated`.
    """

    role: Literal["assistant"]
    content: str | None = Field(description="The text; null where the answer only calls functions")
    refusal: str | None = Field(description="Always null")
    tool_calls: list[FunctionToolCall] | None = Field(default=None, description="Functions that the answer calls")
    function_call: FunctionCall | None = Field(
        default=None, description="A call, for a request with the older functions"
    )
    objects: list[LocatedObject] = Field(default=[], description="Of a model that names places: what is where")
    malformed_boxes: list[str] = Field(default=[], description="Texts that look like a box and are none")
    annotated: str = Field(default="", description="With annotate: where the picture with its boxes is")


class Choice(BaseModel):
    """One of `n` answers."""

    index: int = Field(description="Its place among the choices, from 0 (choices)")
    message: AssistantMessage = Field(description="The answer")
    logprobs: Logprobs | None = Field(description="Null unless `logprobs` was true")
    finish_reason: Literal["stop", "length", "tool_calls", "function_call", "abort"] = Field(
        description="`stop`: by itself or at a stop string; `length`: by `max_tokens` or context; `abort`: cancelled"
    )
    fields: dict[str, Any] = Field(default={}, description="Of a model that reads structured fields out of its answers")


class ChatCompletion(BaseModel):
    """The whole answer. With `stream`, the same in chunks as server-sent events."""

    id: RequestId
    object: Literal["chat.completion"]
    created: Created
    model: ModelId
    system_fingerprint: Fingerprint
    choices: list[Choice] = Field(description="`n` answers")
    usage: Usage = Field(description="Counts of tokens read and written")
    warnings: AnswerWarnings = None
