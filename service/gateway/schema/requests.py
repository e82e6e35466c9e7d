"""The bodies of HTTP requests: every field typed, every number bounded. `prepare` turns them into validated requests.

Unknown fields are kept aside, not refused: `ignored` names them for the `x-ignored-params` header.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    WithJsonSchema,
    create_model,
    model_validator,
)

from pandagpt_core.modalities import MODALITIES
from pandagpt_core.types import Priority
from service.gateway.errors import FieldError, GatewayError
from service.gateway.schema import parameters
from service.gateway.schema.body import BodyModel, PartModel
from service.gateway.schema.content_parts import MAX_TEXT, ContentPart, Message, Name, Weight, as_text_parts

MAX_MESSAGES = 1024
MAX_EMBED_INPUTS = 256
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")

Stop = Annotated[str, StringConstraints(min_length=1, max_length=256)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


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
    list[tuple[_Side, _Side, _Side, _Side]],
    Field(
        max_length=1024,
        description="Left, top, right, bottom; in pixels of the last picture, or with boxes_unit fraction of 0 to 1",
    ),
]


class Sampling(BodyModel):
    """How to choose tokens, and what of the model's own is asked; None leaves it to the model's default.

    `task` and `boxes` are those of a model that takes boxes; `annotate` keeps the picture to be drawn on.
    """

    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    stop: Stops | None = None
    n: Annotated[int, Field(ge=1, le=64)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stream: bool | None = None
    user: Annotated[str, StringConstraints(max_length=512)] | None = None
    priority: Priority | None = None
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


class StreamOptions(PartModel):
    include_usage: bool | None = None


class ChatBody(Sampling):
    """POST /v1/chat/completions."""

    model: Name | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> "ChatBody":
        if self.stream_options is not None and not self.stream:
            raise FieldError("stream_options", "needs stream to be true")
        return self


class _GenerateForm(Sampling):
    """The text fields of POST /v1/generate, but for `messages`, `weights` and `text`, which are read apart."""

    model: Name | None = None
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


_Said = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]


class EmbedBody(BodyModel):
    """POST /v1/embeddings. A string is embedded by the text tower."""

    model: Name | None = None
    input: Annotated[
        list[ContentPart],
        Field(min_length=1, max_length=MAX_EMBED_INPUTS),
        BeforeValidator(
            lambda value: as_text_parts([value] if isinstance(value, dict) else value),
            json_schema_input_type=_Said
            | ContentPart
            | Annotated[list[_Said | ContentPart], Field(min_length=1, max_length=MAX_EMBED_INPUTS)],
        ),
    ]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=65_536)] | None = None
    user: Annotated[str, StringConstraints(max_length=512)] | None = None
    priority: Priority | None = None


# OpenAI parameters that would change the answer and are not offered, with the values that change nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
}


def check_unsupported(body: BodyModel) -> None:
    """Refuses a parameter that would change the answer and that we do not offer."""
    for name, value in (body.model_extra or {}).items():
        if name in UNSUPPORTED and value is not None and value not in UNSUPPORTED[name]:
            raise GatewayError("invalid_request", f"{name} is not supported.", param=name)


def ignored(names: Iterable[str]) -> dict[str, str]:
    """The header that names parameters nobody read. Names that are not plain ones are left out."""
    plain = [name for name in names if _NAME.fullmatch(name)][:32]
    return {"x-ignored-params": ", ".join(plain)} if plain else {}


def never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of what is there or is not, but cannot be null: a field of a form, a header, a word of a query."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})
