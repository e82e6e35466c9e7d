"""The bodies of POST /v1/completions, /tokenize and /detokenize."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from service.gateway.errors import FieldError
from service.gateway.schema.answers import AnswerWarnings, Created, Fingerprint, ModelId, RequestId, Usage
from service.gateway.schema.body import BodyModel
from service.gateway.schema.content_parts import MAX_TEXT, Message
from service.gateway.schema.requests import MAX_MESSAGES
from service.gateway.schema.sampling import ModelName, Sampling, Streaming, TokenId

MAX_PROMPTS = 64
MAX_IDS = 60_000  # token ids of one body; its structure is bounded too

PromptText = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
PromptIds = Annotated[list[TokenId], Field(min_length=1, max_length=MAX_IDS)]
OnePrompt = PromptText | PromptIds


def _as_prompts(value: object) -> object:
    """A text or a list of ids as a list of one prompt."""
    one = isinstance(value, str) or (isinstance(value, list) and bool(value) and isinstance(value[0], int))
    return [value] if one else value


Prompts = Annotated[
    list[OnePrompt],
    Field(min_length=1, max_length=MAX_PROMPTS),
    BeforeValidator(_as_prompts, json_schema_input_type=PromptText | PromptIds | list[PromptText] | list[PromptIds]),
]


class CompletionBody(Sampling):
    """POST /v1/completions: a prompt that is continued as it stands, without a template around it."""

    model: ModelName = None
    prompt: Annotated[Prompts, Field(description="A text, a list of token ids, or a list of either; 64 at most")]
    echo: bool | None = Field(
        default=None, description="Begin each answer with its prompt; with logprobs, scored. Default: false."
    )
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(  # type: ignore[assignment]  # a number here, as OpenAI
        default=None, description="Alternatives reported for each token (tokens). Default: nothing is reported."
    )
    stream_options: Streaming = None

    @property
    def wants_usage(self) -> bool:
        options = self.stream_options
        return options is not None and bool(options.include_usage or options.continuous_usage_stats)


class TokenizeBody(BodyModel):
    """POST /tokenize: the token ids that the language model reads of a prompt, or of messages in its template."""

    model: ModelName = None
    prompt: PromptText | None = Field(default=None, description="A text. Default: none, then `messages` are needed.")
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)] | None = Field(
        default=None, description="Messages of text, in the model's template. Default: none."
    )
    add_special_tokens: bool = Field(default=True, description="With the token that a text begins with; of a prompt")
    add_generation_prompt: Literal[True] = Field(default=True, description="The template always opens the answer")
    return_token_strs: bool = Field(default=False, description="Each token's own text too")

    def check_one(self) -> None:
        """Raises FieldError unless there is either a prompt or messages."""
        if (self.prompt is None) == (self.messages is None):
            raise FieldError("prompt", "or messages must be given, and not both")


class DetokenizeBody(BodyModel):
    """POST /detokenize: the text of token ids."""

    model: ModelName = None
    tokens: Annotated[list[TokenId], Field(max_length=MAX_IDS)] = Field(description="Token ids of the model")


class CompletionLogprobs(BaseModel):
    """Of each token; null for a prompt's first one. `text_offset` counts characters from the text's start."""

    tokens: list[str] = Field(description="The tokens' texts")
    token_logprobs: list[float | None] = Field(description="Their log probabilities (natural logarithm)")
    top_logprobs: list[dict[str, float] | None] = Field(description="The likeliest tokens at each place")
    text_offset: list[int] = Field(description="Start of each (characters)")


class CompletionChoice(BaseModel):
    """With several prompts, `n` choices of the first come first."""

    index: int = Field(description="Its place among the choices, from 0 (choices)")
    text: str = Field(description="The text that follows the prompt")
    logprobs: CompletionLogprobs | None = Field(description="Null unless `logprobs` was asked for")
    finish_reason: Literal["stop", "length", "abort"] = Field(
        description="`stop`: by itself or at a stop string; `length`: by `max_tokens` or context; `abort`: cancelled"
    )


class Completion(BaseModel):
    """The whole answer. With `stream`, the same in chunks as server-sent events."""

    id: RequestId
    object: Literal["text_completion"]
    created: Created
    model: ModelId
    system_fingerprint: Fingerprint
    choices: list[CompletionChoice] = Field(description="`n` for each prompt")
    usage: Usage = Field(description="Counts of tokens read and written")
    warnings: AnswerWarnings = None


class Tokens(BaseModel):
    """Token ids of a text."""

    count: int = Field(description="Number of them (tokens)")
    max_model_len: int = Field(description="The model's context (tokens)")
    tokens: list[int] = Field(description="The token ids")
    token_strs: list[str] | None = Field(description="Each one's text; null unless `return_token_strs` was asked for")


class Detokenized(BaseModel):
    """The text of token ids."""

    prompt: str = Field(description="The text")
