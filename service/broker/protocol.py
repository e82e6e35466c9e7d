"""The wire between gateway and worker: every message that crosses a process, typed, tagged and versioned.

Encoded as MessagePack by msgspec; nothing is ever pickled. A message that does not decode against these types is
refused and kept in the dead letters. Change a field's meaning and the tag's version grows.
"""

from typing import Literal

import msgspec

from pandagpt_core.types import ModelInfo, Modality, Priority, Role, SamplingParams


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all messages: immutable, by keyword."""


class TurnPart(Message):
    """One turn's instruction text."""

    role: Role
    text: str


class MediaPart(Message):
    """One use of a medium. The array lies in the blob store under `blob`; `digest` is the content's cache name."""

    modality: Modality
    digest: str
    blob: str
    turn: int
    weight: float = 1.0


class Generate(Message, tag="generate.v1"):
    """A request for text. `deadline` is Unix seconds; `tenant` the salted name of the caller's key."""

    id: str
    model: str
    tenant: str
    created: float
    deadline: float
    turns: list[TurnPart]
    media: list[MediaPart]
    params: SamplingParams
    n: int = 1
    priority: Priority = "interactive"


class Embed(Message, tag="embed.v1"):
    """A request for unit vectors, one for each medium."""

    id: str
    model: str
    tenant: str
    created: float
    deadline: float
    media: list[MediaPart]
    priority: Priority = "interactive"


Request = Generate | Embed


class Logprob(Message):
    """A token's log probability and its alternatives as (token id, text, logprob)."""

    token_id: int
    text: str
    logprob: float
    top: list[tuple[int, str, float]] = []


class Fence(Message, tag="fence.v1"):
    """First entry of an attempt, `<attempt>-0`: from here on the store refuses entries of earlier attempts."""

    worker: str


class Started(Message, tag="started.v1"):
    """The prompt is in the engine: its length and how many media came from the embedding cache."""

    prompt_tokens: int
    cached_items: int = 0
    cached_tokens: int = 0


class Token(Message, tag="token.v1"):
    """One token of one choice. `text` is the delta that may be shown; `finish` is set on the choice's last token."""

    choice: int
    token_id: int
    text: str
    finish: Literal["stop", "length"] | None = None
    logprob: Logprob | None = None


class Vectors(Message, tag="vectors.v1"):
    """The answer to `Embed`: unit vectors as little-endian float32 bytes, in the order of the media."""

    dim: int
    data: list[bytes]


class Done(Message, tag="done.v1"):
    """The one good end."""

    completion_tokens: int = 0
    cancelled: bool = False


class Failed(Message, tag="failed.v1"):
    """The one bad end. `code` is a code of the error table."""

    code: str
    message: str
    param: str | None = None


Event = Fence | Started | Token | Vectors | Done | Failed


class Announcement(Message, tag="worker.v1"):
    """What a worker says of itself, under a TTL."""

    worker: str
    model: ModelInfo
    capacity: int
    draining: bool = False
    metrics_address: str | None = None


request_decoder = msgspec.msgpack.Decoder(Request)
event_decoder = msgspec.msgpack.Decoder(Event)
announcement_decoder = msgspec.msgpack.Decoder(Announcement)
encode = msgspec.msgpack.Encoder().encode
