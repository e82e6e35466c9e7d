"""The wire between gateway and worker: every message that crosses a process, typed, tagged and versioned.

Encoded as MessagePack by msgspec; nothing is ever pickled. A message that does not decode against these types is
refused and kept in the dead letters. Change a field's meaning and the tag's version grows. An entry of an event
stream is a list of events, those of one step, so that a last token and the end arrive together or not at all.
"""

from typing import Any, Literal

import msgspec

from pandagpt_core.speech.base import HeardWindow, SpeechOptions
from pandagpt_core.types import Modality, ModelInfo, OptionValue, Priority, Role, SamplingParams, ToolCall


class WireMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all messages: immutable, by keyword (repeated on each, for the type checker)."""


class TurnPart(WireMessage, frozen=True, kw_only=True):
    """One turn's instruction text, and the functions that an assistant called in it."""

    role: Role
    text: str
    tool_calls: list[ToolCall] = []


class MediaRef(WireMessage, frozen=True, kw_only=True):
    """One use of a medium. The array lies in the blob store under `blob`; `digest` is the content's cache name."""

    modality: Modality
    digest: str
    blob: str
    turn: int
    weight: float = 1.0


class Generate(WireMessage, frozen=True, kw_only=True, tag="generate.v4"):
    """A request for text. `traceparent` names the trace that the request is part of (W3C Trace Context).

    `deadline` is Unix seconds; `tenant` the salted name of the caller's key.

    `options` are checked against `ModelInfo.options`. `cache_group` is whose cached prefixes it shares; "" for the
    tenant's own. `share` is whose turn it takes among those that wait; "" for the tenant's. `tools` are the functions
    that may be called, each as JSON text; `continue_final` goes on with the last turn.

    `prompts` are texts or token ids to continue as they stand, in place of the turns; each has `n` choices, those of
    the first prompt first. `speech` are sounds of the media once more, as a recogniser reads them; its text stands in
    their turns. `echo`: publish the prompts' own tokens before the answer. `explain`: find out what each medium
    contributes to each choice, among `Done.fields`.
    """

    id: str
    model: str
    tenant: str
    created: float
    deadline: float
    turns: list[TurnPart]
    media: list[MediaRef]
    params: SamplingParams
    n: int = 1
    priority: Priority = "interactive"
    traceparent: str | None = None
    options: dict[str, OptionValue] = {}
    cache_group: str = ""
    share: str = ""
    tools: list[str] = []
    continue_final: bool = False
    prompts: list[str | list[int]] = []
    echo: bool = False
    speech: list[MediaRef] = []
    explain: bool = False


class Embed(WireMessage, frozen=True, kw_only=True, tag="embed.v1"):
    """A request for unit vectors, one for each medium."""

    id: str
    model: str
    tenant: str
    created: float
    deadline: float
    media: list[MediaRef]
    priority: Priority = "interactive"
    traceparent: str | None = None
    cache_group: str = ""
    share: str = ""


class Tokenize(WireMessage, frozen=True, kw_only=True, tag="tokenize.v1"):
    """A request for token ids: of the turns in the model's template, or of `text`; or for the text of `ids`.

    `special`: with the beginning that text gets. `media` is empty.
    """

    id: str
    model: str
    tenant: str
    created: float
    deadline: float
    turns: list[TurnPart] = []
    text: str | None = None
    ids: list[int] | None = None
    special: bool = True
    media: list[MediaRef] = []
    priority: Priority = "interactive"
    traceparent: str | None = None
    cache_group: str = ""
    share: str = ""


class Transcribe(WireMessage, frozen=True, kw_only=True, tag="transcribe.v1"):
    """A request for the speech in a sound as text, whose samples are this request's own. `media` is empty."""

    id: str
    model: str
    tenant: str
    created: float
    deadline: float
    sound: MediaRef
    options: SpeechOptions
    media: list[MediaRef] = []
    priority: Priority = "interactive"
    traceparent: str | None = None
    cache_group: str = ""
    share: str = ""


Request = Generate | Embed | Tokenize | Transcribe


class Logprob(WireMessage, frozen=True, kw_only=True):
    """A token's own bytes and log probability, and its alternatives as (token id, bytes, logprob)."""

    token_id: int
    piece: bytes
    logprob: float
    top: list[tuple[int, bytes, float]] = []


class Fence(WireMessage, frozen=True, kw_only=True, tag="fence.v1"):
    """First entry of an attempt, `<attempt>-0`: from here on the store refuses entries of earlier attempts.

    `at` here and below is Unix seconds by the writer's clock.
    """

    worker: str
    at: float = 0.0


class Released(WireMessage, frozen=True, kw_only=True, tag="released.v1"):
    """The attempt's worker handed the request back in good order; the attempt does not count as a loss."""


class Started(WireMessage, frozen=True, kw_only=True, tag="started.v1"):
    """The prompt is in the engine: its length and how many media came from the embedding cache."""

    at: float = 0.0
    prompt_tokens: int
    cached_items: int = 0
    cached_tokens: int = 0


class PromptPiece(WireMessage, frozen=True, kw_only=True):
    """A token of a prompt and its own bytes; `logprob` and `top` as `Logprob` has them, None for the first token."""

    token_id: int
    piece: bytes
    logprob: float | None = None
    top: list[tuple[int, bytes, float]] = []


class Prompt(WireMessage, frozen=True, kw_only=True, tag="prompt.v1"):
    """With `Generate.echo`: the tokens of one of the prompts, before `Started`."""

    index: int
    tokens: list[PromptPiece]


class Tokenized(WireMessage, frozen=True, kw_only=True, tag="tokenized.v1"):
    """The answer to `Tokenize`: token ids with their own bytes, or the text of ids."""

    ids: list[int] = []
    pieces: list[bytes] = []
    text: str = ""


NO_TOKEN = -1


class Token(WireMessage, frozen=True, kw_only=True, tag="token.v2"):
    """One token of one choice. `text` is the delta that may be shown; `finish` is set on the choice's last token.

    `token_id` is `NO_TOKEN` where the event only ends a choice.
    """

    choice: int
    token_id: int
    text: str
    finish: Literal["stop", "length"] | None = None
    logprob: Logprob | None = None


class Heard(WireMessage, frozen=True, kw_only=True, tag="heard.v1"):
    """Part of the answer to `Transcribe`: one window of the sound, in the order of the sound."""

    window: HeardWindow

    @property
    def tokens(self) -> int:
        return sum(len(segment.tokens) for segment in self.window.segments)


class Vectors(WireMessage, frozen=True, kw_only=True, tag="vectors.v1"):
    """The answer to `Embed`: unit vectors as little-endian float32 bytes, in the order of the media."""

    dim: int
    data: list[bytes]


class Done(WireMessage, frozen=True, kw_only=True, tag="done.v2"):
    """The one good end. `first_token_at` is 0 where no token was made.

    `fields` are the structured fields that the model system reads out of each choice's answer, in the order of the
    choices and None where an answer has none; empty for a system whose answers are plain text. `explained_tokens` is
    how many positions the model read to explain the answer.
    """

    at: float = 0.0
    first_token_at: float = 0.0
    completion_tokens: int = 0
    cancelled: bool = False
    fields: list[dict[str, Any] | None] = []
    explained_tokens: int = 0


class Failed(WireMessage, frozen=True, kw_only=True, tag="failed.v1"):
    """The one bad end. `code` is a code of the error table."""

    at: float = 0.0
    code: str
    message: str
    param: str | None = None


End = Done | Failed
Event = Fence | Released | Prompt | Started | Token | Heard | Vectors | Tokenized | Done | Failed


class Announcement(WireMessage, frozen=True, kw_only=True, tag="worker.v2"):
    """A worker's description of itself, kept for a TTL. `version` is that of its package."""

    worker: str
    model: ModelInfo
    capacity: int
    draining: bool = False
    metrics_address: str | None = None
    version: str = ""


# Errors of a decoder for bytes that are no message. Text that is not UTF-8 is not among msgspec's own errors.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
request_decoder = msgspec.msgpack.Decoder(Request)
entry_decoder = msgspec.msgpack.Decoder(list[Event])
announcement_decoder = msgspec.msgpack.Decoder(Announcement)
encode = msgspec.msgpack.Encoder().encode


def read_announcement(raw: bytes | None) -> Announcement | None:
    """None where there is none, or one of another version of this protocol."""
    try:
        return None if raw is None else announcement_decoder.decode(raw)
    except UNREADABLE:
        return None  # its worker's requests find it through the queue all the same
