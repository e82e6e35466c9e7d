"""Sampling of an answer: the fields that the bodies of every endpoint for text share."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from pandagpt_core.types import Priority
from service.gateway.errors import FieldError
from service.gateway.schema.body import BodyModel, PartModel
from service.gateway.schema.structured import (
    GuidedChoices,
    GuidedPattern,
    ResponseFormat,
    SchemaOrBool,
    StructuredOutputs,
)

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


# Bounds are checked after the type, since a form's text becomes a number there.
TokenLimit = Annotated[int, Field(ge=-1, le=1_000_000), _none_if(-1), AfterValidator(_positive)]
_UserName = Annotated[str, StringConstraints(max_length=512)]
_User = Annotated[_UserName | Annotated[int, Field(ge=-(2**63), lt=2**63)], AfterValidator(str)]
User = Annotated[_User | None, Field(description="Your name for the person who asks; changes nothing. Default: none.")]
_URGENCY = Field(
    description="`batch` runs when nothing `interactive` waits; a number above 0 too. Default: interactive."
)
if TYPE_CHECKING:  # a number is turned into a name before anything reads it
    Urgency = Annotated[Priority | None, _URGENCY]
else:
    _Number = Annotated[int, Field(ge=-(2**31), lt=2**31)]
    Urgency = Annotated[Annotated[Priority | _Number, AfterValidator(_as_priority)] | None, _URGENCY]
Bias = Annotated[float, Field(ge=-100, le=100)]
ModelName = Annotated[
    Annotated[str, StringConstraints(max_length=256), AfterValidator(lambda name: name or None)] | None,
    Field(description="A model's `id` of /v1/models. Default: the operator's, else the only one that is served."),
]
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
    Field(max_length=32),
]
_Side = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
BoxRows = Annotated[list[Annotated[list[_Side], Field(min_length=4, max_length=4)]], Field(max_length=1024)]


class Sampling(BodyModel):
    """Choice of tokens, and the wanted extras of the model; None leaves a value to the model's default.

    `task` and `boxes` are those of a model that takes boxes; `annotate` keeps the picture to be drawn on.
    """

    max_tokens: TokenLimit | None = Field(
        default=None,
        description="Longest answer; -1 leaves it to the model (tokens). Default: the model's own, else 256 or half of "
        "a smaller context.",
    )
    max_completion_tokens: TokenLimit | None = Field(
        default=None,
        description="The same under OpenAI's newer name; it wins over `max_tokens` (tokens). Default: `max_tokens`.",
    )
    min_tokens: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(
        default=None, description="Shortest answer: before it the model's own end is not chosen (tokens). Default: 0."
    )
    ignore_eos: bool | None = Field(
        default=None, description="Go on past the model's own end, up to `max_tokens`. Default: false."
    )
    temperature: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None,
        description="Divides the scores of tokens: 0 takes the likeliest, more is more varied (no unit). Default: the "
        "model's own, else 1.",
    )
    top_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Choose among the likeliest tokens that have this probability together (probability). Default: the "
        "model's own, else 1.",
    )
    top_k: Annotated[int, Field(ge=-1, le=1_000_000), _none_if(-1)] | None = Field(
        default=None,
        description="Choose among so many of the likeliest; 0 and -1: all (tokens). Default: the model's own, else 0.",
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Leave out tokens below this share of the likeliest one's probability (share). Default: the "
        "model's own, else 0.",
    )
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = Field(
        default=None,
        description="Divides the positive scores of tokens that were there before, multiplies the negative (no unit). "
        "Default: the model's own, else 1.",
    )
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None,
        description="Taken from a token's score for each time that the answer has it (no unit). Default: the model's "
        "own, else 0.",
    )
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None,
        description="Taken from a token's score once the answer has it (no unit). Default: the model's own, else 0.",
    )
    no_repeat_ngram_size: Annotated[int, Field(ge=0, le=256)] | None = Field(
        default=None,
        description="So many in a row do not come twice in an answer; 0 lets them, and so does a grammar (tokens). "
        "Default: the model's own, else 0.",
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64), _none_if(-1)] | None = Field(
        default=None,
        description="The same seed and request give the same tokens (no unit). Default, and -1: one drawn for it.",
    )
    stop: Stops | None = Field(
        default=None, description="Up to 4 strings that end the answer and are cut off. Default: none."
    )
    stop_token_ids: Annotated[list[TokenId], Field(max_length=64)] | None = Field(
        default=None, description="Token ids that end the answer. Default: none."
    )
    logit_bias: Annotated[dict[TokenId, Bias], Field(max_length=1024), BeforeValidator(_as_bias)] | None = Field(
        default=None, description="Token id to what is added to its score, -100 to 100. Default: none."
    )
    bad_words: Annotated[list[BadWord], Field(max_length=64)] | None = Field(
        default=None, description="Words that are not written. Default: none."
    )
    best_of: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None, description="May only be `n` (choices). Default: `n`."
    )
    response_format: ResponseFormat | None = Field(
        default=None, description="The answer is text, any JSON object, or JSON that follows a schema. Default: text."
    )
    structured_outputs: StructuredOutputs | None = Field(
        default=None, description="vLLM's way to ask for an answer that follows a grammar. Default: none."
    )
    guided_json: SchemaOrBool | GuidedPattern | None = Field(
        default=None, description="A JSON schema that the answer follows, or its text. Default: none."
    )
    guided_regex: GuidedPattern | None = Field(
        default=None, description="A regular expression that the whole answer matches. Default: none."
    )
    guided_choice: GuidedChoices | None = Field(default=None, description="The answer is one of these. Default: none.")
    guided_grammar: GuidedPattern | None = Field(
        default=None, description="The answer follows this Lark grammar. Default: none."
    )
    n: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None, description="Answers to the same request; media are encoded once (choices). Default: 1."
    )
    logprobs: bool | None = Field(default=None, description="With each token's log probability. Default: false.")
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None, description="And so many likeliest tokens beside it; needs `logprobs` (tokens). Default: 0."
    )
    stream: bool | None = Field(
        default=None, description="Answer in server-sent events, as tokens come. Default: false."
    )
    user: User = None
    priority: Urgency = None
    options: Options | None = Field(
        default=None,
        description="The model's own options, by the names in /v1/models. Default: the model's.",
    )
    task: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Of a model that has tasks (MiniGPT-v2): vqa, caption, grounding, refer, identify, detection. "
        "Default: none.",
    )
    boxes: BoxRows | None = Field(
        default=None,
        description="With the task identify: left, top, right, bottom of places in the last picture, as `boxes_unit` "
        "says. Default: none.",
    )
    boxes_unit: Literal["pixels", "fraction"] | None = Field(
        default=None, description="Of `boxes`: pixels as a viewer turns the picture, or 0 to 1. Default: pixels."
    )
    explain: bool | None = Field(
        default=None,
        description="Find out what each medium contributes to the answer, in `fields.contributions`; up to 8 media. "
        "Default: false.",
    )
    annotate: bool | None = Field(
        default=None, description="Keep the last picture, to be drawn with the answer's boxes. Default: false."
    )

    @model_validator(mode="after")
    def _top_logprobs_need_logprobs(self) -> "Sampling":
        if self.top_logprobs and not self.logprobs:
            raise FieldError("top_logprobs", "needs logprobs to be true")
        return self

    @model_validator(mode="after")
    def _min_tokens_within_max_tokens(self) -> "Sampling":
        most = self.max_completion_tokens or self.max_tokens
        if self.min_tokens and most and self.min_tokens > most:
            raise FieldError("min_tokens", f"is {self.min_tokens}, more than the {most} tokens that are allowed")
        return self


class StreamOptions(PartModel):
    """Parts of a stream beside the answer."""

    include_usage: bool | None = Field(
        default=None, description="A chunk with the usage, and no choice, comes before the end. Default: false."
    )
    continuous_usage_stats: bool | None = Field(
        default=None, description="The usage so far, in every chunk. Default: false."
    )
    include_event_ids: bool | None = Field(
        default=None,
        description="An `id:` line in every event, from which the stream can be read again. Default: true in "
        "/v1/generate and with an Idempotency-Key, else false.",
    )


Streaming = Annotated[StreamOptions | None, Field(description="Parts of a stream beside the answer. Default: nothing.")]
