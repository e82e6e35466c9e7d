"""The bodies of HTTP requests: every field typed, every number bounded. `inference` makes validated requests of them.

Unknown fields are kept aside, not refused: the `x-ignored-params` header names them.
"""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, RootModel, StringConstraints, create_model, model_validator

from pandagpt_core.modalities import MODALITIES
from service.gateway.errors import FieldError
from service.gateway.schema import parameters
from service.gateway.schema.body import BodyModel
from service.gateway.schema.content_parts import MAX_TEXT, Message, Weight
from service.gateway.schema.sampling import BoxRows, ModelName, Options, Sampling, Streaming
from service.gateway.schema.tools import FunctionChoice, Functions, ToolChoice, Tools

MAX_MESSAGES = 1024


class ChatBody(Sampling):
    """POST /v1/chat/completions.

    A last message of the assistant is continued, unless `continue_final_message` is false or `add_generation_prompt`
    true: then a new one follows it.
    """

    model: ModelName = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)] = Field(
        description="The conversation, oldest message first: 1 to the operator's limit of 1024 (messages)"
    )
    stream_options: Streaming = None
    tools: Tools | None = Field(default=None, description="Functions that may be called, up to 128. Default: none.")
    tool_choice: ToolChoice | None = Field(
        default=None,
        description="`none`, `auto`, `required`, a function's name, or `allowed_tools`. Default: auto.",
    )
    parallel_tool_calls: bool | None = Field(
        default=None, description="Whether one answer may call several functions. Default: true."
    )
    functions: Functions | None = Field(default=None, description="The older name of `tools`. Default: none.")
    function_call: FunctionChoice | None = Field(
        default=None, description="`tool_choice`, by its older name. Default: auto."
    )
    continue_final_message: bool | None = Field(
        default=None,
        description="Whether the answer goes on with the assistant's last message. Default: true where it is last.",
    )
    add_generation_prompt: bool | None = Field(
        default=None,
        description="Whether the answer is a new message. Default: false where the assistant's is last.",
    )

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> "ChatBody":
        options = self.stream_options
        if options is not None and (options.include_usage or options.continuous_usage_stats) and not self.stream:
            raise FieldError("stream_options", "needs stream to be true")
        return self


class _GenerateForm(Sampling):
    """The text fields of POST /v1/generate, but for `messages`, `weights` and `text`, which are read apart."""

    model: ModelName = None
    prompt: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)] = Field(description="The user's words")
    include_usage: bool | None = Field(default=None, description="The usage at a stream's end. Default: false.")


if TYPE_CHECKING:  # the fields of parameters follow from the registry and exist at run time only
    GenerateForm = _GenerateForm
else:
    GenerateForm = create_model(
        "GenerateForm", __base__=_GenerateForm, __doc__=_GenerateForm.__doc__, **parameters.form_fields()
    )


class ModelOptions(RootModel[Options]):
    """`options` of the form."""

    model_config = ConfigDict(strict=True, frozen=True)


class BoxList(RootModel[BoxRows]):
    """`boxes` of the form."""

    model_config = ConfigDict(strict=True, frozen=True)


_RECIPE = Field(default=None, description="A recipe of docs/media.md by which the files are read. Default: the newest.")
if TYPE_CHECKING:
    MediaForm = BodyModel
else:  # parameters of media alone
    MediaForm = create_model("MediaForm", __base__=BodyModel, recipe=(str | None, _RECIPE), **parameters.form_fields())


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


# Fields that change the answer and that a form does not have.
CHAT_ONLY = ("tools", "tool_choice", "functions", "function_call", "continue_final_message")


def never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of what is there or is not, but cannot be null: a field of a form, a header, a word of a query."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})
