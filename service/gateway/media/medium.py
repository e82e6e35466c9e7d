"""A medium on its way in, one type from the body to the broker's message: its bytes, their hash, how to read them."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pandagpt_core.modalities import MODALITIES, Composition
from pandagpt_core.types import Modality
from service.gateway.errors import GatewayError
from service.gateway.media.sources import Content, MediaSources
from service.gateway.schema import content_parts

HASH_IN_THREAD = 1 << 20  # bytes from which hashing leaves the event loop


@dataclass(frozen=True, slots=True)
class MediaInput:
    """One use of a medium. `where` is its field in the request; `params_at` is the prefix of its parameters' fields."""

    modality: Modality
    data: bytes
    sha256: str
    turn: int
    where: str
    params: Mapping[str, float | str] = field(default_factory=dict)
    params_at: str = ""
    weight: float = 1.0

    @property
    def identity(self) -> tuple[object, ...]:
        """All that decides what a model makes of it."""
        return (self.modality.value, self.sha256, self.turn, sorted(self.params.items()), self.weight)


async def read_part(part: content_parts.MediaPart, where: str, turn: int, sources: MediaSources) -> MediaInput:
    """The medium of a content part, with its bytes. `where` names the part in errors."""
    params: dict[str, float | str] = {}
    params_at = ""
    try:
        match part:
            case content_parts.ContextTextPart():
                return await text_medium(part.context_text, f"{where}.context_text", turn, part.weight)
            case content_parts.InputAudioPart():
                modality, where = Modality.AUDIO, f"{where}.input_audio.data"
                sent = part.input_audio.data
                content = await (sources.read(sent) if sent.startswith("data:") else sources.base64(sent))
            case content_parts.LinkPart():
                modality, params = Modality(part.modality), part.params
                name = MODALITIES[part.modality].part
                params_at, where = f"{where}.{name}.{modality.value}.", f"{where}.{name}.url"
                content = await sources.read(part.link.url)
            case _:
                modality, params, params_at = Modality(part.modality), part.params, f"{where}.{part.modality}."
                where = f"{where}.file.file_id"
                content = await sources.open_file(part.file.file_id)
    except GatewayError as error:
        raise GatewayError(error.code, error.message, param=error.param or where) from None
    return MediaInput(modality, content.data, content.sha256, turn, where, params, params_at, part.weight)


def composed(media: Sequence[MediaInput]) -> list[MediaInput]:
    """The media, and beside each the further ones that its parameters make of the same file: a video's sound."""
    out: list[MediaInput] = []
    for medium in media:
        chosen = [
            parameter
            for parameter in MODALITIES[medium.modality].parameters
            if isinstance(parameter, Composition) and parameter.name in medium.params
        ]
        names = {parameter.name for parameter in chosen}
        params = {name: value for name, value in medium.params.items() if name not in names}
        out.append(replace(medium, params=params) if names else medium)
        out += [
            replace(medium, modality=Modality(one.modality), params={}, params_at="")
            for one in chosen
            if medium.params[one.name]
        ]
    return out


async def text_medium(text: str, where: str, turn: int, weight: float = 1.0) -> MediaInput:
    content = await _hashed(text.encode("utf-8", "replace"))
    return MediaInput(Modality.TEXT, content.data, content.sha256, turn, where, weight=weight)


async def _hashed(data: bytes) -> Content:
    if len(data) < HASH_IN_THREAD:
        return Content(data, hashlib.sha256(data).hexdigest())
    return Content(data, await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest()))
