"""A medium on its way in, one type from the body to the broker's message: its bytes, their hash, how to read them."""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pandagpt_core.modalities import MODALITIES, Composition
from pandagpt_core.types import Modality
from service.gateway.errors import GatewayError
from service.gateway.media.multipart import Upload
from service.gateway.media.sources import Content, MediaSources
from service.gateway.schema import content_parts

HASH_IN_THREAD = 1 << 20  # bytes from which hashing leaves the event loop


@dataclass(frozen=True, slots=True)
class MediaInput:
    """One use of a medium. `where` is its field in the request; `params_at` is the prefix of its parameters' fields.

    is_vector: `data` is no file but its embedding, little-endian float32.
    `array` is its encoder's input where that was made already.
    recalled: it is named by the hash of bytes that were sent before, and `data` is empty.
    """

    modality: Modality
    data: bytes
    sha256: str
    turn: int
    where: str
    params: Mapping[str, float | str] = field(default_factory=dict)
    params_at: str = ""
    weight: float = 1.0
    is_vector: bool = False
    array: np.ndarray | None = None
    recalled: bool = False

    @property
    def identity(self) -> tuple[object, ...]:
        """The values that decide a model's reading of the medium."""
        return (self.modality.value, self.sha256, self.turn, sorted(self.params.items()), self.weight, self.is_vector)


async def read_part(part: content_parts.MediaPart, where: str, turn: int, sources: MediaSources) -> MediaInput:
    """The medium of a content part, with its bytes. `where` names the part in errors."""
    params: dict[str, float | str] = {}
    params_at = ""
    try:
        match part:
            case content_parts.ContextTextPart():
                return await text_medium(part.context_text, f"{where}.context_text", turn, part.weight)
            case content_parts.InputAudioPart() | content_parts.LinkPart() if part.is_recalled:
                where = f"{where}.uuid"
                return await _recalled(part, where, turn, sources)
            case content_parts.InputAudioPart():
                modality, where = Modality.AUDIO, f"{where}.input_audio.data"
                assert part.input_audio is not None, "it is not recalled"
                sent = part.input_audio.data
                content = await (sources.read(sent) if sent.startswith("data:") else sources.base64(sent))
            case content_parts.LinkPart():
                modality, params = Modality(part.modality), part.params
                name = MODALITIES[part.modality].part
                params_at, where = f"{where}.{name}.{modality.value}.", f"{where}.{name}.url"
                content = await sources.read(part.link.url)
            case content_parts.EmbeddingPart():
                where = f"{where}.embedding"
                vector = read_vector(part.embedding)
                return MediaInput(
                    Modality(part.modality), vector, _digest(vector), turn, where, weight=part.weight, is_vector=True
                )
            case _:
                modality, content, where = await _read_file(part, where, sources)
                params = part.params(modality)
                params_at = f"{where.rpartition('.file.')[0]}.{modality.value}."
    except GatewayError as error:
        raise GatewayError(error.code, error.message, param=error.param or where) from None
    if part.uuid is not None and sources.remember is not None:
        await sources.remember(part.uuid, content.sha256)
    return MediaInput(modality, content.data, content.sha256, turn, where, params, params_at, part.weight)


async def _recalled(
    part: content_parts.InputAudioPart | content_parts.LinkPart, where: str, turn: int, sources: MediaSources
) -> MediaInput:
    """A medium by the name that it was sent with before."""
    assert part.uuid is not None, "the schema demands it"
    modality = Modality.AUDIO if isinstance(part, content_parts.InputAudioPart) else Modality(part.modality)
    sha256 = await sources.recall(part.uuid)
    return MediaInput(modality, b"", sha256, turn, where, weight=part.weight, recalled=True)


async def read_upload(file: Upload, where: str, sources: MediaSources) -> Content:
    """The bytes of a form's file, or those that its link leads to. Errors name the field."""
    if not file.link:
        return Content(file.data, file.sha256)
    try:
        return await sources.read(file.link)
    except GatewayError as error:
        raise GatewayError(error.code, f"{where}: {error.message}", param=where) from None


async def _read_file(part: content_parts.FilePart, where: str, sources: MediaSources) -> tuple[Modality, Content, str]:
    """Modality and bytes of a file part, and its field's name. Raises `invalid_request` where neither the part, nor the
    data's type, nor the file's name gives the modality."""
    file = part.file
    found = part.modality or guessed_modality(file.filename or "", file.file_data or "")
    if found is None:
        known = ", ".join(MODALITIES)
        raise GatewayError("invalid_request", f"{where}.modality is required: {known}.", param=f"{where}.modality")
    if file.file_id is not None:
        at = f"{where}.file.file_id"
        return Modality(found), await _named(sources.open_file(file.file_id), at), at
    data, at = file.file_data or "", f"{where}.file.file_data"
    reading = sources.read(data) if data[:5].lower() == "data:" else sources.base64(data)
    return Modality(found), await _named(reading, at), at


async def _named(reading: Awaitable[Content], where: str) -> Content:
    """Await the content; a refusal without a field gets this one."""
    try:
        return await reading
    except GatewayError as error:
        raise GatewayError(error.code, error.message, param=error.param or where) from None


def guessed_modality(filename: str, url: str) -> str | None:
    """The modality that the MIME type of a data URL or a file's suffix names."""
    mime = url[5:].partition(";")[0].lower() if url[:5].lower() == "data:" else ""
    suffix = f".{filename.rpartition('.')[2].lower()}"
    kind = mime.partition("/")[0]
    if kind in ("image", "audio", "video"):
        return kind
    return next(
        (name for name, entry in MODALITIES.items() if suffix in entry.mime or mime in entry.mime.values()), None
    )


def read_vector(given: Sequence[float] | str) -> bytes:
    """Little-endian float32 of a list of numbers or of base64. Raises `invalid_request`."""
    try:
        raw = base64.b64decode(given, validate=True) if isinstance(given, str) else np.asarray(given, "<f4").tobytes()
        vector = np.frombuffer(raw, "<f4")
    except ValueError:
        raise GatewayError("invalid_request", "is no base64 of 32-bit numbers") from None
    if not np.isfinite(vector).all():
        raise GatewayError("invalid_request", "holds numbers that are not finite")
    if (largest := float(np.abs(vector).max(initial=0))) > content_parts.MAX_OF_VECTOR:
        raise GatewayError(
            "invalid_request", f"holds a number of size {largest:g}; the limit is {content_parts.MAX_OF_VECTOR:g}"
        )
    return raw


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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
