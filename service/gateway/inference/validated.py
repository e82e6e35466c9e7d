"""From bodies to a validated request: another type, whose fields need no second look.

`MediaInput` is one use of a medium with its bytes. Both endpoints, chat and generate, make a `GenerateRequest`.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pandagpt_core.modalities import MODALITIES
from pandagpt_core.types import Modality, ModelInfo, Priority, Role, SamplingParams, Turn
from service.gateway.errors import GatewayError
from service.gateway.media.sources import Content, MediaSources
from service.gateway.schema import content_parts, requests
from service.gateway.schema.content_parts import Message
from service.gateway.schema.requests import ChatBody, Sampling

HASH_IN_THREAD = 1 << 20  # bytes from which hashing leaves the event loop


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Totals of one request."""

    max_messages: int = 256
    max_media: int = 32
    max_text_chars: int = 200_000
    max_tokens: int = 8192
    default_tokens: int = 256
    max_choices: int = 8


@dataclass(frozen=True, slots=True)
class MediaInput:
    """One use of a medium. `where` is the caller's name for it; `params_at` what precedes its parameters' names."""

    modality: Modality
    data: bytes
    sha256: str
    turn: int
    where: str
    params: Mapping[str, float | str] = field(default_factory=dict)
    params_at: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A valid request for text, before its media are decoded."""

    turns: tuple[Turn, ...]
    media: tuple[MediaInput, ...]
    sampling: Sampling
    include_usage: bool
    ignored: tuple[str, ...]

    @property
    def n(self) -> int:
        return self.sampling.n or 1

    @property
    def stream(self) -> bool:
        return bool(self.sampling.stream)

    @property
    def priority(self) -> Priority:
        return self.sampling.priority or "interactive"


def sampling_params(sampling: Sampling, info: ModelInfo, bounds: RequestLimits) -> SamplingParams:
    """The caller's parameters over the model's defaults. Raises `invalid_request` beyond a bound."""
    name = "max_tokens" if sampling.max_completion_tokens is None else "max_completion_tokens"
    asked: int | None = getattr(sampling, name)
    if asked is not None and asked > bounds.max_tokens:
        raise GatewayError("invalid_request", f"{name} is {asked}; the limit is {bounds.max_tokens}.", param=name)
    if (sampling.n or 1) > bounds.max_choices:
        raise GatewayError("invalid_request", f"n is {sampling.n}; the limit is {bounds.max_choices}.", param="n")
    defaults, plain = info.sampling_defaults, SamplingParams()

    def number(name: str) -> float:
        value = getattr(sampling, name)
        return float(value if value is not None else defaults.get(name, getattr(plain, name)))

    return SamplingParams(
        max_tokens=asked
        or int(defaults.get("max_tokens", min(bounds.default_tokens, max(1, info.max_model_len // 2)))),
        temperature=number("temperature"),
        top_p=number("top_p"),
        top_k=int(number("top_k")),
        min_p=number("min_p"),
        repetition_penalty=number("repetition_penalty"),
        frequency_penalty=number("frequency_penalty"),
        presence_penalty=number("presence_penalty"),
        seed=sampling.seed if sampling.seed is not None else secrets.randbelow(2**31),
        stop=tuple(sampling.stop or ()),
        logprobs=(sampling.top_logprobs or 0) if sampling.logprobs else None,
    )


async def chat(body: ChatBody, links: MediaSources, bounds: RequestLimits) -> GenerateRequest:
    """A chat body as a valid request, its media read. Raises `invalid_request`, `too_large`, `file_not_found`."""
    requests.check_unsupported(body)
    turns, media = await conversation(body.messages, links, bounds)
    if turns[-1].role != "user":
        raise GatewayError("invalid_request", "The last message must be the user's.", param="messages")
    usage = bool(body.stream_options and body.stream_options.include_usage)
    return GenerateRequest(tuple(turns), tuple(media), body, usage, tuple(body.model_extra or ()))


async def conversation(
    messages: Sequence[Message], links: MediaSources, bounds: RequestLimits
) -> tuple[list[Turn], list[MediaInput]]:
    """Turns and media of messages, within the totals."""
    if len(messages) > bounds.max_messages:
        raise GatewayError(
            "invalid_request",
            f"There are {len(messages)} messages; the limit is {bounds.max_messages}.",
            param="messages",
        )
    everything = [part for message in messages for part in message.content]
    check_totals(
        sum(len(part.text) for part in everything if isinstance(part, content_parts.TextPart)),
        sum(not isinstance(part, content_parts.TextPart) for part in everything),
        bounds,
        "messages",
    )
    turns: list[Turn] = []
    media: list[MediaInput] = []
    for index, message in enumerate(messages):
        texts = []
        for at, part in enumerate(message.content):
            if isinstance(part, content_parts.TextPart):
                texts.append(part.text)
            else:
                media.append(await read_part(part, f"messages[{index}].content[{at}]", index, links))
        role: Role = "system" if message.role == "developer" else message.role
        turns.append(Turn(role, "\n".join(texts)))
    return turns, media


def check_totals(chars: int, media: int, bounds: RequestLimits, param: str) -> None:
    if chars > bounds.max_text_chars:
        raise GatewayError(
            "invalid_request",
            f"There are {chars} characters of text; the limit is {bounds.max_text_chars}.",
            param=param,
        )
    if media > bounds.max_media:
        raise GatewayError("invalid_request", f"There are {media} media; the limit is {bounds.max_media}.", param=param)


async def read_part(part: content_parts.MediaPart, where: str, turn: int, links: MediaSources) -> MediaInput:
    """A content part's medium, its bytes read. `where` names the part in errors."""
    params: dict[str, float | str] = {}
    params_at = ""
    try:
        match part:
            case content_parts.ContextTextPart():
                return await text_medium(part.context_text, f"{where}.context_text", turn, part.weight)
            case content_parts.InputAudioPart():
                modality, where = Modality.AUDIO, f"{where}.input_audio.data"
                blob = await links.base64(part.input_audio.data)
            case content_parts.LinkPart():
                modality, params = Modality(part.modality), part.params
                name = MODALITIES[part.modality].part
                params_at, where = f"{where}.{name}.{modality.value}.", f"{where}.{name}.url"
                blob = await links.read(part.link.url)
            case _:
                modality, params, params_at = Modality(part.modality), part.params, f"{where}.{part.modality}."
                where = f"{where}.file.file_id"
                blob = await links.open_file(part.file.file_id)
    except GatewayError as error:
        raise GatewayError(error.code, error.message, param=error.param or where) from None
    return MediaInput(modality, blob.data, blob.sha256, turn, where, params, params_at, part.weight)


async def text_medium(text: str, where: str, turn: int, weight: float = 1.0) -> MediaInput:
    blob = await hashed(text.encode("utf-8", "replace"))
    return MediaInput(Modality.TEXT, blob.data, blob.sha256, turn, where, weight=weight)


async def hashed(data: bytes) -> Content:
    if len(data) < HASH_IN_THREAD:
        return Content(data, hashlib.sha256(data).hexdigest())
    return Content(data, await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest()))
