"""The bodies of HTTP requests: every field typed, every number bounded. `prepare` turns them into validated requests.

Unknown fields are kept aside, not refused: `ignored` names them for the `x-ignored-params` header.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from pandagpt_core.types import Priority
from service.gateway.errors import FieldError, GatewayError

MAX_TEXT = 200_000  # characters of one text; the total of a request is a setting
MAX_PARTS = 256
MAX_MESSAGES = 1024
MAX_EMBED_INPUTS = 256
MAX_WEIGHT = 100.0
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Url = Annotated[str, StringConstraints(min_length=1)]  # bounded by the body; most are data URLs
Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=256)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


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


class Body(BaseModel):
    """Base: JSON types are taken literally (no "1" for 1), NaN and infinity are refused."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, frozen=True)


class Part(Body):
    """Base of content parts; fields we do not know (`detail`, `cache_control`) do not change the answer."""

    model_config = ConfigDict(extra="ignore")


class TextPart(Part):
    type: Literal["text"]
    text: Text


class Link(Part):
    url: Url


class DepthParams(Part):
    """How to read a depth map: its unit and, for depth rather than ready disparity, the camera."""

    unit: Literal["m", "mm", "disparity", "sunrgbd"] | None = None
    focal_px: Annotated[float, Field(gt=0, le=1e6)] | None = None
    baseline_m: Annotated[float, Field(gt=0, le=1e3)] | None = None


class DepthLink(Link):
    depth: DepthParams = DepthParams()


class ImuParams(Part):
    rate_hz: Annotated[float, Field(gt=0, le=1e5)] | None = None


class ImuLink(Link):
    imu: ImuParams = ImuParams()


class InputAudio(Part):
    data: Annotated[str, StringConstraints(min_length=1)]
    format: Literal["wav", "mp3", "flac", "ogg", "m4a"]


class FileRef(Part):
    file_id: Name


class ImagePart(Part):
    type: Literal["image_url"]
    image_url: Link
    weight: Weight = 1.0


class InputAudioPart(Part):
    type: Literal["input_audio"]
    input_audio: InputAudio
    weight: Weight = 1.0


class AudioPart(Part):
    type: Literal["audio_url"]
    audio_url: Link
    weight: Weight = 1.0


class VideoPart(Part):
    type: Literal["video_url"]
    video_url: Link
    weight: Weight = 1.0


class DepthPart(Part):
    type: Literal["depth_url"]
    depth_url: DepthLink
    weight: Weight = 1.0


class ThermalPart(Part):
    type: Literal["thermal_url"]
    thermal_url: Link
    weight: Weight = 1.0


class ImuPart(Part):
    type: Literal["imu_url"]
    imu_url: ImuLink
    weight: Weight = 1.0


class ContextTextPart(Part):
    type: Literal["context_text"]
    context_text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
    weight: Weight = 1.0


class FilePart(Part):
    """An uploaded file. `depth` and `imu` as in `depth_url` and `imu_url`."""

    type: Literal["file"]
    file: FileRef
    modality: Literal["image", "video", "audio", "depth", "thermal", "imu"]
    depth: DepthParams = DepthParams()
    imu: ImuParams = ImuParams()
    weight: Weight = 1.0


MediaPart = (
    ImagePart | InputAudioPart | AudioPart | VideoPart | DepthPart | ThermalPart | ImuPart | ContextTextPart | FilePart
)
ContentPart = Annotated[TextPart | MediaPart, Field(discriminator="type")]
EmbedPart = Annotated[TextPart | MediaPart, Field(discriminator="type")]


def _as_text_parts(value: object) -> object:
    """A string as one text part; a list's strings as text parts."""
    if value is None or isinstance(value, str):
        value = [value or ""]
    if isinstance(value, list):
        return [{"type": "text", "text": item} if isinstance(item, str) else item for item in value]
    return value


class Message(Part):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        list[ContentPart],
        Field(max_length=MAX_PARTS),
        BeforeValidator(_as_text_parts, json_schema_input_type=str | list[ContentPart] | None),
    ]


class Sampling(Body):
    """How to choose tokens; None leaves it to the model's default."""

    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    stop: Stops | None = None
    n: Annotated[int, Field(ge=1, le=64)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stream: bool | None = None
    user: Annotated[str, StringConstraints(max_length=512)] | None = None
    priority: Priority | None = None

    @model_validator(mode="after")
    def _top_logprobs_need_logprobs(self) -> "Sampling":
        if self.top_logprobs and not self.logprobs:
            raise FieldError("has top_logprobs without logprobs")
        return self


class StreamOptions(Part):
    include_usage: bool | None = None


class ChatBody(Sampling):
    """POST /v1/chat/completions."""

    model: Name | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream_options: StreamOptions | None = None


class GenerateForm(Sampling):
    """The text fields of POST /v1/generate, but for `messages`, `weights` and `text`, which are read apart."""

    model: Name | None = None
    prompt: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
    include_usage: bool | None = None
    depth_unit: Literal["m", "mm", "disparity", "sunrgbd"] | None = None
    depth_focal_px: Annotated[float, Field(gt=0, le=1e6)] | None = None
    depth_baseline_m: Annotated[float, Field(gt=0, le=1e3)] | None = None
    imu_rate_hz: Annotated[float, Field(gt=0, le=1e5)] | None = None


class Messages(RootModel[Annotated[list[Message], Field(max_length=MAX_MESSAGES)]]):
    """`messages` of the form: earlier turns."""

    model_config = ConfigDict(strict=True, frozen=True)


class Weights(Body):
    """`weights` of the form: for each field of media, one number a medium in the order sent."""

    model_config = ConfigDict(extra="forbid")

    image: list[Weight] = []
    video: list[Weight] = []
    audio: list[Weight] = []
    depth: list[Weight] = []
    thermal: list[Weight] = []
    imu: list[Weight] = []
    text: list[Weight] = []


class EmbedBody(Body):
    """POST /v1/embeddings. A string is embedded by the text tower."""

    model: Name | None = None
    input: Annotated[
        list[EmbedPart],
        Field(min_length=1, max_length=MAX_EMBED_INPUTS),
        BeforeValidator(
            lambda value: _as_text_parts([value] if isinstance(value, dict) else value),
            json_schema_input_type=str | EmbedPart | list[str | EmbedPart],
        ),
    ]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=65_536)] | None = None
    user: Annotated[str, StringConstraints(max_length=512)] | None = None
    priority: Priority | None = None


# OpenAI parameters that would change the answer and are not offered, with the values that change nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
}


def check_unsupported(body: Body) -> None:
    """Refuses a parameter that would change the answer and that we do not offer."""
    for name, value in (body.model_extra or {}).items():
        if name in UNSUPPORTED and value is not None and value not in UNSUPPORTED[name]:
            raise GatewayError("invalid_request", f"{name} is not supported.", param=name)


def ignored(names: Iterable[str]) -> dict[str, str]:
    """The header that names parameters nobody read. Names that are not plain ones are left out."""
    plain = [name for name in names if _NAME.fullmatch(name)][:32]
    return {"x-ignored-params": ", ".join(plain)} if plain else {}
