"""Content parts and messages: what a conversation may hold, typed and bounded."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MAX_TEXT = 200_000  # characters of one text; the total of a request is a setting
MAX_PARTS = 256
MAX_WEIGHT = 100.0

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Url = Annotated[str, StringConstraints(min_length=1)]  # bounded by the body; most are data URLs
Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT)]


class BodyModel(BaseModel):
    """Base: JSON types are taken literally (no "1" for 1), NaN and infinity are refused."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, frozen=True)


class PartModel(BodyModel):
    """Base of content parts; fields we do not know (`detail`, `cache_control`) do not change the answer."""

    model_config = ConfigDict(extra="ignore")


class TextPart(PartModel):
    type: Literal["text"]
    text: Text


class Link(PartModel):
    url: Url


class DepthParams(PartModel):
    """How to read a depth map: its unit and, for depth rather than ready disparity, the camera."""

    unit: Literal["m", "mm", "disparity", "sunrgbd"] | None = None
    focal_px: Annotated[float, Field(gt=0, le=1e6)] | None = None
    baseline_m: Annotated[float, Field(gt=0, le=1e3)] | None = None


class DepthLink(Link):
    depth: DepthParams = DepthParams()


class ThermalParams(PartModel):
    """The raw values that become 0 and 1, together or not at all; without them the values are taken as they are."""

    low: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    high: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None


class ThermalLink(Link):
    thermal: ThermalParams = ThermalParams()


class ImuParams(PartModel):
    rate_hz: Annotated[float, Field(gt=0, le=1e5)] | None = None


class ImuLink(Link):
    imu: ImuParams = ImuParams()


class InputAudio(PartModel):
    data: Annotated[str, StringConstraints(min_length=1)]
    format: Literal["wav", "mp3", "flac", "ogg", "m4a"]


class FileRef(PartModel):
    file_id: Name


class ImagePart(PartModel):
    type: Literal["image_url"]
    image_url: Link
    weight: Weight = 1.0


class InputAudioPart(PartModel):
    type: Literal["input_audio"]
    input_audio: InputAudio
    weight: Weight = 1.0


class AudioPart(PartModel):
    type: Literal["audio_url"]
    audio_url: Link
    weight: Weight = 1.0


class VideoPart(PartModel):
    type: Literal["video_url"]
    video_url: Link
    weight: Weight = 1.0


class DepthPart(PartModel):
    type: Literal["depth_url"]
    depth_url: DepthLink
    weight: Weight = 1.0


class ThermalPart(PartModel):
    type: Literal["thermal_url"]
    thermal_url: ThermalLink
    weight: Weight = 1.0


class ImuPart(PartModel):
    type: Literal["imu_url"]
    imu_url: ImuLink
    weight: Weight = 1.0


class ContextTextPart(PartModel):
    type: Literal["context_text"]
    context_text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
    weight: Weight = 1.0


class FilePart(PartModel):
    """An upload; `text` is context text. `depth`, `thermal`, `imu` as in `depth_url`, `thermal_url`, `imu_url`."""

    type: Literal["file"]
    file: FileRef
    modality: Literal["image", "video", "audio", "depth", "thermal", "imu", "text"]
    depth: DepthParams = DepthParams()
    thermal: ThermalParams = ThermalParams()
    imu: ImuParams = ImuParams()
    weight: Weight = 1.0


MediaPart = (
    ImagePart | InputAudioPart | AudioPart | VideoPart | DepthPart | ThermalPart | ImuPart | ContextTextPart | FilePart
)
ContentPart = Annotated[TextPart | MediaPart, Field(discriminator="type")]


def as_text_parts(value: object) -> object:
    """A string as one text part; a list's strings as text parts."""
    if value is None or isinstance(value, str):
        value = [value or ""]
    if isinstance(value, list):
        return [{"type": "text", "text": item} if isinstance(item, str) else item for item in value]
    return value


class Message(PartModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        list[ContentPart],
        Field(max_length=MAX_PARTS),
        BeforeValidator(as_text_parts, json_schema_input_type=str | list[ContentPart] | None),
    ]
