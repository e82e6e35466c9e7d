"""Inputs of a body to embed, parsed, with their bytes read and all limits of the service checked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.gateway.errors import GatewayError
from service.gateway.inference.validated import RequestLimits
from service.gateway.media.medium import MediaInput, read_part
from service.gateway.media.sources import MediaSources
from service.gateway.media.text_windows import TextOrIds
from service.gateway.schema.content_parts import ContextTextPart, MediaPart, TextPart
from service.gateway.schema.embeddings import TokensPart

LEAST_LENGTH = 1e-6  # of a vector as it is given; float32 keeps the direction of no shorter ones than 1e-12


@dataclass(frozen=True, slots=True)
class EmbedInput:
    """A text (or its token ids), or a medium. `where` is its field in the request."""

    where: str
    text: TextOrIds | None = None
    medium: MediaInput | None = None


async def read_inputs(
    parts: Sequence[TextPart | TokensPart | MediaPart], at: str, sources: MediaSources
) -> list[EmbedInput]:
    """The inputs of one field, `at`[0] and so on. Raises `invalid_request` for one that is empty."""
    return [await _read(part, f"{at}[{index}]", sources) for index, part in enumerate(parts)]


async def _read(part: TextPart | TokensPart | MediaPart, where: str, sources: MediaSources) -> EmbedInput:
    match part:
        case TextPart(text=text) | ContextTextPart(context_text=text):
            if not text:
                raise GatewayError("invalid_request", f"{where} is empty.", param=where)
            return EmbedInput(where, text=text)
        case TokensPart():
            return EmbedInput(where, text=tuple(part.tokens))
        case _:
            medium = await read_part(part, where, 0, sources)
            if medium.is_vector:
                _check_direction(medium)
            return EmbedInput(where, medium=medium)


def _check_direction(vector: MediaInput) -> None:
    """Raises `invalid_request` for a vector that no scale makes a unit vector."""
    length = float(np.linalg.norm(np.frombuffer(vector.data, "<f4")))
    if length < LEAST_LENGTH:
        words = f"{vector.where} has length {length:g}, and with it no direction; the least is {LEAST_LENGTH:g}."
        raise GatewayError("invalid_request", words, param=vector.where)


def check_inputs(inputs: Sequence[TextPart | TokensPart | MediaPart], limits: RequestLimits, param: str) -> None:
    """Before any bytes are read. Raises `invalid_request` beyond the limits."""
    chars = sum(_length(part) for part in inputs)
    media = sum(not isinstance(part, TextPart | TokensPart | ContextTextPart) for part in inputs)
    for count, limit, what in (
        (len(inputs), limits.max_embed_inputs, "inputs"),
        (chars, limits.max_embed_chars, "characters of text"),
        (media, limits.max_media, "media"),
    ):
        if count > limit:
            raise GatewayError("invalid_request", f"There are {count} {what}; the limit is {limit}.", param=param)


def _length(part: TextPart | TokensPart | MediaPart) -> int:
    match part:
        case TextPart():
            return len(part.text)
        case ContextTextPart():
            return len(part.context_text)
        case TokensPart():
            return len(part.tokens)
        case _:
            return 0
