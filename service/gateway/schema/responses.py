"""The shapes of answers, for the written interface. Answers themselves are built by folds and routes as plain data."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model

from pandagpt_core.modalities import MODALITIES
from pandagpt_core.types import OptionKind, ToolSupport
from service.gateway.errors import ERRORS


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class Error(BaseModel):
    error: ErrorDetail


class _Details(BaseModel):
    cached_tokens: int
    cached_items: int


if TYPE_CHECKING:
    Details = _Details
else:  # the counts follow from the registry
    Details = create_model("Details", __base__=_Details, **{f"{name}_items": (int, ...) for name in MODALITIES})


Span = Annotated[list[float], Field(min_length=2, max_length=2, description="begin and end")]


class MediaSpans(BaseModel):
    """The parts of a long medium that were looked at, in seconds."""

    modality: str
    seconds: list[Span]


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: Details
    media_spans: list[MediaSpans] | None = None


class OwnParameter(BaseModel):
    """A parameter as the file says it, null where it does not; and the place that says it, or why none does."""

    value: float | str | None
    reason: str


class Inspected(BaseModel):
    """`facts` name how the file was read; `preview` is a data URL of a PNG, null for what is no picture.

    `parameters` are those of the modality that the file names itself.
    """

    object: Literal["media.inspection"]
    modality: str
    recipe: str
    array: list[int]
    facts: dict[str, str]
    spans: list[Span]
    warnings: list[str]
    parameters: dict[str, OwnParameter]
    preview: str | None


class Inspection(BaseModel):
    object: Literal["list"]
    data: list[Inspected]


class TopLogprob(BaseModel):
    token: str
    logprob: float
    bytes: list[int] | None


class ChatCompletionTokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class Logprobs(BaseModel):
    content: list[ChatCompletionTokenLogprob]
    refusal: str | None


class PixelBox(BaseModel):
    x0: float
    y0: float
    x1: float
    y1: float


class LocatedObject(BaseModel):
    """`label`: the phrase before the box, null where there is none. `box`: in pixels of the picture as a viewer shows
    it, null without a picture; `box_norm`: left, top, right, bottom of 0 to 1."""

    label: str | None
    box: PixelBox | None
    box_norm: list[float]


class FunctionCall(BaseModel):
    name: str
    arguments: str = Field(description="JSON text")


class FunctionToolCall(BaseModel):
    id: str
    type: Literal["function"]
    function: FunctionCall


class AssistantMessage(BaseModel):
    """`content` is null where the answer only calls functions. `objects`, `malformed_boxes` and `annotated` are of a
    model that names places in pictures.

    In a stream a delta has the objects that its text completes, and one at the end has the two others.
    """

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[FunctionToolCall] | None = None
    function_call: FunctionCall | None = Field(default=None, description="Where the request has the older functions")
    objects: list[LocatedObject] = []
    malformed_boxes: list[str] = Field(default=[], description="What looks like a box in the text and is none")
    annotated: str = Field(default="", description="With annotate: where the picture with its boxes is")


class Choice(BaseModel):
    index: int
    message: AssistantMessage
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length", "tool_calls", "function_call", "abort"]
    fields: dict[str, Any] = Field(default={}, description="Of a model that reads structured fields out of its answers")


class ChatCompletion(BaseModel):
    """The whole answer. With `stream`, the same in chunks as server-sent events."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[Choice]
    usage: Usage
    warnings: list[str] | None = None


class ModelOption(BaseModel):
    """An option that a request may set in `options`."""

    name: str
    kind: OptionKind
    description: str
    unit: str
    default: bool | int | float | str | list[list[float]] | None
    minimum: float | None
    maximum: float | None
    choices: list[str]


class Model(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    system: str
    input_modalities: list[str]
    max_model_len: int
    embedding_dim: int
    tools: ToolSupport
    embedding_dimensions: list[int] = Field(description="Widths that `dimensions` of /v1/embeddings may name")
    options: list[ModelOption]


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[Model]


class File(BaseModel):
    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["processed"]


class FileList(BaseModel):
    object: Literal["list"]
    data: list[File]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(BaseModel):
    id: str
    object: Literal["file"]
    deleted: bool


class Timings(BaseModel):
    """Unix seconds; null where not reached."""

    created: float
    deadline: float
    taken: float | None
    started: float | None
    first_token: float | None
    finished: float | None


class RequestUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_items: int


class RequestStatus(BaseModel):
    id: str
    object: Literal["request"]
    model: str
    status: Literal["queued", "running", "done", "cancelled", "failed"]
    position: int | None
    attempts: int
    usage: RequestUsage
    timings: Timings
    error: ErrorDetail | None


class Live(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    """`models`: those that a worker takes requests for."""

    status: Literal["ok"]
    models: list[str]


class Version(BaseModel):
    version: str


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


def documented(answer: type[BaseModel] | None, *kinds: str) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: its good answer, and the error shape under every status of the table.

    `answer` is the JSON that it may give, `kinds` the other content types. A route without JSON says so to FastAPI by
    `response_class=Response` too.
    """
    good: dict[str, Any] = {"description": "The answer"}
    if answer is not None:
        good["model"] = answer
    if kinds:
        good["content"] = {kind: {"schema": _EVENT if kind == EVENTS else {"type": "string"}} for kind in kinds}
    codes: dict[int, list[str]] = {}
    for code, row in ERRORS.items():
        codes.setdefault(row.status, []).append(code)
    answers: dict[int | str, dict[str, Any]] = {200: good}
    for status, names in sorted(codes.items()):
        answers[status] = {"model": Error, "description": ", ".join(names)}
    return answers
