"""The vocabulary shared by every room: modalities, turns, sampling parameters. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import EnumType, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pandagpt_core.modalities import MODALITIES


class _FromRegistry(EnumType):
    """The members come from the registry, so a type checker cannot list them."""

    if TYPE_CHECKING:

        def __getattr__(cls, name: str) -> "Modality": ...


class Modality(StrEnum, metaclass=_FromRegistry):
    """The kind of a medium, which names its tower: a member for each name of the registry, `IMAGE` for "image"."""

    vars().update({name.upper(): name for name in MODALITIES})


Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "abort"]
Priority = Literal["interactive", "batch"]
Box = tuple[float, float, float, float]  # left, top, right, bottom
OptionKind = Literal["boolean", "integer", "number", "string", "boxes"]
OptionValue = bool | int | float | str | tuple[Box, ...]
Fields = Mapping[str, Any]  # the fields that a system reads out of an answer: a JSON object
Nearest = tuple[tuple[float, ...], tuple[int, ...]]  # of a search: similarities, descending, and their rows
Found = Mapping[tuple[bytes, int], Nearest]  # searches in a cache of features, by the query's bytes and how many rows
NOTHING_FOUND: Found = MappingProxyType({})
ToolSupport = Literal["auto", "forced"]  # whether a model calls tools by itself, or where a grammar forces it


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a function. `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation, the instruction text only; its media stand in `Conversation.media`.

    `tool_calls` are an assistant's. A turn of the role "tool" holds what a call returned.
    """

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaUse:
    """One use of a medium in a conversation.

    `turn` is the index of the turn that holds it, `weight` its share when parts are composed in the shared space.
    `digest` names the content (hex SHA-256), so that equal media are encoded and cached once.
    """

    modality: Modality
    digest: str
    turn: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """An option that a model system offers for each request.

    `minimum` and `maximum` bound an integer, a number, or each coordinate of "boxes". `choices` are a string's values;
    without them any string is valid. `unit` names what the number counts, empty for a plain number.
    """

    name: str
    kind: OptionKind
    description: str
    unit: str = ""
    default: OptionValue | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A validated conversation: at least one turn.

    `options` holds the caller's values for the `OptionSpec`s of the model; an absent one has its default. `tools` are
    the functions that may be called, each as JSON text. `continue_final`: the answer goes on with the last turn, which
    is the assistant's, instead of beginning a new one.
    """

    turns: tuple[Turn, ...]
    media: tuple[MediaUse, ...] = ()
    options: Mapping[str, OptionValue] = field(default_factory=dict, hash=False)
    tools: tuple[str, ...] = ()
    continue_final: bool = False


GrammarKind = Literal["json_schema", "choice", "regex", "lark"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """The grammar of an answer. `text` is a JSON schema, a JSON list of texts, a regular expression or Lark."""

    kind: GrammarKind
    text: str


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Parameters of the choice of tokens. Ranges are checked at the door (HTTP schemas); the engine trusts them.

    temperature 0 is greedy. `top_k` 0 and `top_p` 1 and `min_p` 0 filter nothing. Penalties as the OpenAI API
    (frequency, presence: over generated tokens) and CTRL (repetition: over prompt and generated tokens) define them.
    `stop` strings are matched on decoded text and cut from it. `stop_token_ids` end the text before that token.
    `logprobs` is the number of alternatives reported per token; None reports nothing.
    `min_tokens` are generated before any token may end the answer. `logit_bias` adds to the logits of token ids.
    `bad_words` are not written: the last token of each, as the tokenizer spells it, does not follow the others.
    `no_repeat_ngram_size`: no so many tokens in a row are generated twice; 0 lets them, and so does a grammar.
    `grammar` allows only tokens that can still lead to an answer that follows it.
    """

    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    min_tokens: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    bad_words: tuple[str, ...] = ()
    no_repeat_ngram_size: int = 0
    grammar: Grammar | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token with its natural-log probability under the model (before filters, after temperature 1)."""

    token_id: int
    piece: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TokenOutput:
    """One generated token of one sequence.

    `text` is what may be shown now: empty while a character is incomplete or the tail may yet become a stop string.
    `finish_reason` is set on the sequence's last output only. An output with `error` ends the sequence as failed.
    """

    sequence_id: str
    token_id: int
    text: str
    finish_reason: FinishReason | None = None
    logprob: TokenLogprob | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SpeechInfo:
    """Inputs of a worker's recogniser: arrays of `recipe`, and `languages` (ISO 639). `digest` names it in caches.

    In a chat the first `context_seconds` of a sound are written down, and at most `context_tokens` of that are read by
    the language model.
    """

    recipe: str
    digest: str
    languages: tuple[str, ...] = ()
    context_seconds: float = 120.0
    context_tokens: int = 256


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model that a worker announces: all that a gateway needs to know of it.

    `recipes` maps each modality the model takes to the preprocessing recipe (`pandagpt_core.media`) whose array its
    encoder wants; a modality that is absent is not supported. `encoder_digest` names encoder and preprocessing, and
    `tower_digests` the part of them that one modality passes, for cache keys. `embedding_dim` is the width of the
    shared space; 0 where the system offers no embeddings. `options` are those that a request may set;
    `pandagpt_core.options` checks values against them. `tools`: whether the model calls functions by itself.
    `dimensions` are narrower widths that its vectors may be cut to. `speech` is there where its workers write down
    speech.
    """

    id: str
    system: str
    recipes: dict[Modality, str]
    max_model_len: int
    embedding_dim: int
    encoder_digest: str
    version: str
    created: int = 0
    sampling_defaults: dict[str, float] = field(default_factory=dict)
    options: tuple[OptionSpec, ...] = ()
    tools: ToolSupport = "forced"
    dimensions: tuple[int, ...] = ()
    tower_digests: dict[Modality, str] = field(default_factory=dict)
    speech: SpeechInfo | None = None

    def digest_of(self, modality: Modality) -> str:
        """Digest for a medium's embedding in caches; models with equal towers for the modality share it."""
        return self.tower_digests.get(modality, self.encoder_digest)
