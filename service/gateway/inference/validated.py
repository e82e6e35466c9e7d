"""Validated requests: domain types only. The two endpoints for text make a `GenerateRequest`; nothing behind it checks
a field again, except against the model that serves it.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from pandagpt_core.speech.base import SpeechOptions
from pandagpt_core.types import Box, Grammar, ModelInfo, Priority, SamplingParams, Turn
from service.gateway.errors import GatewayError
from service.gateway.media.medium import MediaInput, composed
from service.gateway.schema.audio import Granularity, TranscriptFormat
from service.gateway.schema.sampling import Sampling, StreamOptions
from service.gateway.streaming.chunks import TranscriptShape
from service.gateway.tools.choice import NO_PLAN, ToolPlan
from service.gateway.tools.messages import CallStyle
from service.gateway.tools.request import NO_TOOLS, ToolRequest


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Totals of one request. `lenient`: fields that would change the answer and are missing here are ignored."""

    max_messages: int = 256
    max_media: int = 32
    max_text_chars: int = 200_000
    max_tokens: int = 8192
    max_choices: int = 8
    max_embed_inputs: int = 2048
    max_embed_chars: int = 2_000_000
    lenient: bool = False


MAX_EXPLAINED = 8  # media: each of them costs the model a reading of prompt and answer


@dataclass(frozen=True, slots=True)
class SamplingOverrides:
    """The sampling parameters that the caller gave. None: the model's default; `logprobs` None: none are reported."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    logprobs: int | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    bad_words: tuple[str, ...] = ()
    no_repeat_ngram_size: int | None = None
    grammar: Grammar | None = None

    def over(self, info: ModelInfo, default_tokens: int) -> SamplingParams:
        """The parameters over the model's defaults. A seed is drawn where there is none."""
        tokens = min(default_tokens, max(1, info.max_model_len // 2))
        plain = SamplingParams(max_tokens=tokens, seed=secrets.randbelow(2**31))
        defaults: dict[str, Any] = {
            name: type(getattr(plain, name))(value)
            for name, value in info.sampling_defaults.items()
            if hasattr(plain, name)
        }
        given = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}
        return replace(plain, **{**defaults, **given})


@dataclass(frozen=True, slots=True)
class PlacesInput:
    """A caller's input about places in a picture. boxes: in pixels of the last picture, else of 0 to 1.

    annotate: keep that picture, to be drawn on.
    """

    task: str | None = None
    boxes: tuple[Box, ...] | None = None
    in_pixels: bool = True
    annotate: bool = False


@dataclass(frozen=True, slots=True)
class ResponseOptions:
    """Of a request for a response. shape: the fields of the response object that repeat the body's. instructions: turns
    in front that a later response leaves out. store: keep the conversation. background: run on without a reader."""

    shape: dict[str, Any]
    instructions: int = 0
    store: bool = True
    background: bool = False


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A valid request for text, before its media are decoded. `ignored` are the parameters that nothing reads.

    `options` are checked against the model's announcement, by which it also `names_places` or not. `event_ids`: the
    client can resume the stream. `tool_plan` is made of `tools` for the model that answers. `function_calls`: the
    client reads the older `function_call`. `continue_final`: the answer goes on with the last turn, the assistant's.
    `prompts` are continued as they stand, in place of turns, and come back before the answer with `echo`. `kind` is the
    form of the answer, where the endpoint has one of its own. `explain`: with what each medium contributes to it."""

    turns: tuple[Turn, ...]
    media: tuple[MediaInput, ...]
    sampling: SamplingOverrides
    model: str | None = None
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    event_ids: bool = False
    priority: Priority = "interactive"
    options: Mapping[str, Any] = field(default_factory=dict)
    places: PlacesInput = PlacesInput()
    names_places: bool = False
    tools: ToolRequest = NO_TOOLS
    tool_plan: ToolPlan = NO_PLAN
    function_calls: bool = False
    continue_final: bool = False
    ignored: tuple[str, ...] = ()
    prompts: tuple[str | tuple[int, ...], ...] = ()
    echo: bool = False
    explain: bool = False
    response: ResponseOptions | None = None
    kind: str | None = None

    @property
    def choices(self) -> int:
        return self.n * max(1, len(self.prompts))

    @property
    def id_kind(self) -> str:
        """Prefix of the request's id."""
        return "resp" if self.response is not None else "cmpl" if self.prompts else "chatcmpl"

    @property
    def answer_kind(self) -> str:
        """The form of the answer: a key of the tables in `streaming/folds.py`."""
        if self.kind is not None:
            return self.kind
        return "response" if self.response is not None else "text" if self.prompts else "chat"

    @property
    def call_style(self) -> CallStyle | None:
        """Form in which the client reads calls of functions; None where there can be none."""
        if not self.tool_plan.reads:
            return None
        return "function_call" if self.function_calls else "tool_calls"


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """A valid request for vectors, one for each medium."""

    media: tuple[MediaInput, ...]
    model: str | None = None
    priority: Priority = "interactive"
    id_kind: ClassVar[str] = "embd"


@dataclass(frozen=True, slots=True)
class TranscribeRequest:
    """A valid request for the words spoken in a sound, the one of `media`. `answer` is the form of the answer."""

    media: tuple[MediaInput, ...]
    speech: SpeechOptions
    answer: TranscriptFormat = "json"
    granularities: tuple[Granularity, ...] = ("segment",)
    model: str | None = None
    stream: bool = False
    priority: Priority = "interactive"
    ignored: tuple[str, ...] = ()
    id_kind: ClassVar[str] = "transcript"

    @property
    def shape(self) -> TranscriptShape:
        """Of the answer, before the sound's length is known."""
        return TranscriptShape(format=self.answer, task=self.speech.task, granularities=list(self.granularities))


def sampling_of(body: Sampling, limits: RequestLimits, grammar: Grammar | None = None) -> SamplingOverrides:
    """The body's parameters. Raises `invalid_request` beyond a limit of this service."""
    name = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    tokens: int | None = getattr(body, name)
    if tokens is not None and tokens > limits.max_tokens:
        raise GatewayError("invalid_request", f"{name} is {tokens}; the limit is {limits.max_tokens}.", param=name)
    if (body.n or 1) > limits.max_choices:
        raise GatewayError("invalid_request", f"n is {body.n}; the limit is {limits.max_choices}.", param="n")
    return SamplingOverrides(
        max_tokens=tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        min_p=body.min_p,
        repetition_penalty=body.repetition_penalty,
        frequency_penalty=body.frequency_penalty,
        presence_penalty=body.presence_penalty,
        seed=None if body.seed is None else body.seed % 2**64,
        stop=tuple(body.stop or ()),
        stop_token_ids=tuple(body.stop_token_ids or ()),
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        min_tokens=body.min_tokens,
        ignore_eos=body.ignore_eos,
        logit_bias=tuple(sorted((body.logit_bias or {}).items())),
        bad_words=tuple(body.bad_words or ()),
        no_repeat_ngram_size=body.no_repeat_ngram_size,
        grammar=grammar,
    )


def generate_request(
    body: Sampling,
    turns: tuple[Turn, ...],
    media: tuple[MediaInput, ...],
    limits: RequestLimits,
    *,
    model: str | None,
    stream_options: StreamOptions,
    grammar: Grammar | None = None,
) -> GenerateRequest:
    """The request of a body, for both endpoints; `ignored` fields are left out. Raises `invalid_request` beyond a limit
    of this service."""
    sampling, media = sampling_of(body, limits, grammar), tuple(composed(media))
    if body.explain and len(media) > MAX_EXPLAINED:
        words = f"explain takes at most {MAX_EXPLAINED} media; the request has {len(media)}."
        raise GatewayError("invalid_request", words, param="explain")
    return GenerateRequest(
        turns,
        media,
        sampling,
        model=model,
        n=body.n or 1,
        stream=bool(body.stream),
        include_usage=bool(stream_options.include_usage),
        continuous_usage=bool(stream_options.continuous_usage_stats),
        event_ids=bool(stream_options.include_event_ids),
        priority=body.priority or "interactive",
        options=body.options or {},
        places=PlacesInput(
            body.task,
            None if body.boxes is None else tuple((box[0], box[1], box[2], box[3]) for box in body.boxes),
            body.boxes_unit != "fraction",
            bool(body.annotate),
        ),
        explain=bool(body.explain),
    )
