"""The bodies of HTTP requests: every field typed, every number bounded. `inference` makes validated requests of them.

Unknown fields are kept aside, not refused: `ignored` names them for the `x-ignored-params` header.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pandagpt_core.modalities import MODALITIES
from pandagpt_core.types import Priority
from service.gateway.errors import FieldError, GatewayError
from service.gateway.schema import parameters
from service.gateway.schema.body import BodyModel, PartModel
from service.gateway.schema.content_parts import MAX_TEXT, Message, Weight
from service.gateway.schema.structured import Choices, Pattern, ResponseFormat, Schema, StructuredOutputs
from service.gateway.schema.tools import FunctionChoice, Functions, ToolChoice, Tools

MAX_MESSAGES = 1024
MAX_HEADER = 2000  # characters of a header of our own
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")

Stop = Annotated[str, StringConstraints(min_length=1, max_length=256)]


def _as_list(value: object) -> object:
    """Some clients send an empty stop string for none."""
    listed = [value] if isinstance(value, str) else value
    return [one for one in listed if one != ""] if isinstance(listed, list) else listed


def _none_if(value: int) -> AfterValidator:
    """The number by which clients of other servers leave a parameter to the model."""
    return AfterValidator(lambda given: None if given == value else given)


def _positive(value: int | None) -> int | None:
    if value == 0:
        raise PydanticCustomError("greater_than_equal", "Input should be greater than or equal to 1", {"ge": 1})
    return value


def _as_priority(value: int | str) -> str:
    """vLLM's numbers: lower is earlier, 0 the default."""
    return value if isinstance(value, str) else "interactive" if value <= 0 else "batch"


def _as_bias(value: object) -> object:
    """OpenAI's object has token ids as text."""
    if isinstance(value, dict):
        return {int(key) if isinstance(key, str) and key.isdecimal() else key: bias for key, bias in value.items()}
    return value


# These are checked after the type, since a form's text becomes a number there.
Tokens = Annotated[int, Field(ge=-1, le=1_000_000), _none_if(-1), AfterValidator(_positive)]
_UserName = Annotated[str, StringConstraints(max_length=512)]
User = Annotated[_UserName | Annotated[int, Field(ge=-(2**63), lt=2**63)], AfterValidator(str)]
if TYPE_CHECKING:  # a number is turned into a name before anything reads it
    Urgency = Priority
else:
    Urgency = Annotated[Priority | Annotated[int, Field(ge=-(2**31), lt=2**31)], AfterValidator(_as_priority)]
Bias = Annotated[float, Field(ge=-100, le=100)]
ModelName = Annotated[str, StringConstraints(max_length=256), AfterValidator(lambda name: name or None)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]


BadWord = Annotated[str, StringConstraints(min_length=1, max_length=256)]


Stops = Annotated[
    list[Stop],
    Field(max_length=4),
    BeforeValidator(_as_list),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": 256},
                {"type": "array", "maxItems": 4, "items": {"type": "string", "minLength": 1, "maxLength": 256}},
            ]
        }
    ),
]


# A model's own options; the model's announcement has each one's kind and range (`pandagpt_core.options`).
Options = Annotated[
    dict[
        Annotated[str, StringConstraints(max_length=64)],
        bool | int | float | Annotated[str, StringConstraints(max_length=1000)] | list[list[float]] | None,
    ],
    Field(max_length=32, description="Options of the model, as /v1/models lists them"),
]


_Side = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Boxes = Annotated[
    list[Annotated[list[_Side], Field(min_length=4, max_length=4)]],
    Field(
        max_length=1024,
        description="Left, top, right, bottom; in pixels of the last picture, or with boxes_unit fraction of 0 to 1",
    ),
]


class Sampling(BodyModel):
    """How to choose tokens, and what of the model's own is asked; None leaves it to the model's default.

    `task` and `boxes` are those of a model that takes boxes; `annotate` keeps the picture to be drawn on.
    """

    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    min_tokens: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    ignore_eos: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1_000_000), _none_if(-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64), _none_if(-1)] | None = None
    stop: Stops | None = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=64)] | None = None
    logit_bias: Annotated[dict[TokenId, Bias], Field(max_length=1024), BeforeValidator(_as_bias)] | None = None
    bad_words: Annotated[list[BadWord], Field(max_length=64)] | None = None
    best_of: Annotated[int, Field(ge=1, le=64)] | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | Pattern | None = None
    guided_regex: Pattern | None = None
    guided_choice: Choices | None = None
    guided_grammar: Pattern | None = None
    n: Annotated[int, Field(ge=1, le=64)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stream: bool | None = None
    user: User | None = None
    priority: Urgency | None = None
    options: Options | None = None
    task: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    boxes: Boxes | None = None
    boxes_unit: Literal["pixels", "fraction"] | None = None
    annotate: bool | None = None

    @model_validator(mode="after")
    def _top_logprobs_need_logprobs(self) -> "Sampling":
        if self.top_logprobs and not self.logprobs:
            raise FieldError("top_logprobs", "needs logprobs to be true")
        return self

    @model_validator(mode="after")
    def _best_of_is_n(self) -> "Sampling":
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise FieldError("best_of", f"is {self.best_of}, which is not offered: it may be n, {self.n or 1}")
        return self

    @model_validator(mode="after")
    def _min_tokens_within_max_tokens(self) -> "Sampling":
        most = self.max_completion_tokens or self.max_tokens
        if self.min_tokens and most and self.min_tokens > most:
            raise FieldError("min_tokens", f"is {self.min_tokens}, more than the {most} tokens that are allowed")
        return self


class StreamOptions(PartModel):
    """`continuous_usage_stats`: usage so far in every chunk. `include_event_ids`: an `id:` line in every event, from
    which the stream can be read again."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_event_ids: bool | None = None


class ChatBody(Sampling):
    """POST /v1/chat/completions.

    A last message of the assistant is continued, unless `continue_final_message` is false or `add_generation_prompt`
    true: then a new one follows it.
    """

    model: ModelName | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream_options: StreamOptions | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Functions | None = None
    function_call: FunctionChoice | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> "ChatBody":
        options = self.stream_options
        if options is not None and (options.include_usage or options.continuous_usage_stats) and not self.stream:
            raise FieldError("stream_options", "needs stream to be true")
        return self


class _GenerateForm(Sampling):
    """The text fields of POST /v1/generate, but for `messages`, `weights` and `text`, which are read apart."""

    model: ModelName | None = None
    prompt: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
    include_usage: bool | None = None


if TYPE_CHECKING:  # the fields of parameters follow from the registry and exist at run time only
    GenerateForm = _GenerateForm
else:
    GenerateForm = create_model(
        "GenerateForm", __base__=_GenerateForm, __doc__=_GenerateForm.__doc__, **parameters.form_fields()
    )


class ModelOptions(RootModel[Options]):
    """`options` of the form."""

    model_config = ConfigDict(strict=True, frozen=True)


class BoxList(RootModel[Boxes]):
    """`boxes` of the form."""

    model_config = ConfigDict(strict=True, frozen=True)


if TYPE_CHECKING:
    MediaForm = BodyModel
else:  # parameters of media alone
    MediaForm = create_model("MediaForm", __base__=BodyModel, recipe=(str | None, None), **parameters.form_fields())


class Messages(RootModel[Annotated[list[Message], Field(max_length=MAX_MESSAGES)]]):
    """`messages` of the form: earlier turns."""

    model_config = ConfigDict(strict=True, frozen=True)


class _Weights(BodyModel):
    """`weights` of the form: for each field of media, one number a medium in the order sent."""

    model_config = ConfigDict(extra="forbid")


if TYPE_CHECKING:
    Weights = _Weights
else:
    Weights = create_model(
        "Weights", __base__=_Weights, __doc__=_Weights.__doc__, **dict.fromkeys(MODALITIES, (tuple[Weight, ...], ()))
    )


# OpenAI parameters that would change the answer and are not offered, with the values that change nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "suffix": ("",),
    "use_beam_search": (False,),
    "length_penalty": (1, 1.0),
    "prompt_logprobs": (0,),
    "echo": (False,),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
}


# Fields that change the answer and that a form does not have.
CHAT_ONLY = ("tools", "tool_choice", "functions", "function_call", "continue_final_message")


def check_unsupported(body: BodyModel) -> None:
    """Refuses a parameter that would change the answer and that we do not offer."""
    for name, value in (body.model_extra or {}).items():
        if name in UNSUPPORTED and value is not None and value not in UNSUPPORTED[name]:
            raise GatewayError("invalid_request", f"{name} is not supported.", param=name)


def ignored(names: Iterable[str]) -> dict[str, str]:
    """The header that names the parameters that nothing reads. Names that are not plain ones are left out."""
    plain = [name for name in names if _NAME.fullmatch(name)][:32]
    return {"x-ignored-params": ", ".join(plain)} if plain else {}


def warned(warnings: Sequence[str]) -> dict[str, str]:
    """The header that holds the warnings of an answer, in plain ASCII."""
    text = "; ".join(warnings).encode("ascii", "replace").decode()
    return {"x-warnings": text[:MAX_HEADER]} if text else {}


def never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of what is there or is not, but cannot be null: a field of a form, a header, a word of a query."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})
