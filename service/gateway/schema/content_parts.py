"""Content parts and messages: what a conversation may hold, typed and bounded."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union

from pydantic import BeforeValidator, Field, StringConstraints, create_model, model_validator

from pandagpt_core.modalities import FILE_MODALITIES, MODALITIES, Entry, Value
from service.gateway.errors import FieldError
from service.gateway.schema import parameters
from service.gateway.schema.body import PartModel
from service.gateway.schema.tools import MAX_TOOLS, CalledFunction, CallId, ToolCallPart

MAX_TEXT = 200_000  # characters of one text; the total of a request is a setting
MAX_PARTS = 256
MAX_WEIGHT = 100.0

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Url = Annotated[str, StringConstraints(min_length=1)]  # bounded by the body; most are data URLs
Vector = Annotated[list[Annotated[float, Field(ge=-1e6, le=1e6)]], Field(min_length=1, max_length=65_536)]
Base64 = Annotated[str, StringConstraints(min_length=1, max_length=400_000)]  # of float32, as encoding_format base64
if TYPE_CHECKING:
    Modalities = str
else:
    Modalities = Literal[tuple(MODALITIES)]
Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT)]


class TextPart(PartModel):
    type: Literal["text"]
    text: Text


class Link(PartModel):
    url: Url


class InputAudio(PartModel):
    data: Annotated[str, StringConstraints(min_length=1)]
    format: Annotated[str, StringConstraints(max_length=64)] | None = None  # the bytes decide


class FileRef(PartModel):
    """An upload by its id, or the bytes themselves as a data URL or plain base64. `filename` may tell the modality."""

    file_id: Name | None = None
    file_data: Url | None = None
    filename: Annotated[str, StringConstraints(max_length=512)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "FileRef":
        if (self.file_id is None) == (self.file_data is None):
            raise FieldError("file_id", "is required, or file_data in its place")
        return self


class WeightedPart(PartModel):
    """Base of the parts that hold a medium."""

    weight: Weight = 1.0


class EmbeddingPart(WeightedPart):
    """A vector of the model's shared space, as /v1/embeddings gives it, in the place of a medium."""

    type: Literal["embedding"]
    embedding: (
        Annotated[list[Annotated[float, Field(ge=-1e6, le=1e6)]], Field(min_length=1, max_length=65_536)] | Base64
    )
    modality: Modalities = "image"


class InputAudioPart(WeightedPart):
    type: Literal["input_audio"]
    input_audio: InputAudio


class ContextTextPart(WeightedPart):
    type: Literal["context_text"]
    context_text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]


class LinkPart(WeightedPart):
    """Base of the parts by link, one for each modality: `image_url` holds a `url` and the modality's parameters."""

    modality: ClassVar[str]

    @property
    def link(self) -> Link:
        link: Link = getattr(self, MODALITIES[self.modality].part)
        return link

    @property
    def params(self) -> dict[str, Value]:
        return parameters.given(getattr(self.link, self.modality, None))


class _FilePart(WeightedPart):
    """An upload or the bytes of a file; `text` is context text. Parameters stand under the modality's name, as in its
    part by link. Without a modality the type of a data URL or the file's name tells it."""

    type: Literal["file"]
    file: FileRef
    modality: str | None = None

    def params(self, modality: str) -> dict[str, Value]:
        return parameters.given(getattr(self, modality, None))


def _link_part(entry: Entry) -> type[LinkPart]:
    """`image_url` for the entry of "image"."""
    title = entry.name.title()
    link = Link
    if entry.parameters:
        params = parameters.model(entry)
        held: dict[str, Any] = {entry.name: (params, params())}
        link = create_model(f"{title}Link", __base__=Link, **held)
    fields: dict[str, Any] = {"type": (Literal[entry.part], ...), entry.part: (link, ...)}
    part = create_model(f"{title}Part", __base__=LinkPart, **fields)
    part.modality = entry.name
    return part


def _file_part() -> type[_FilePart]:
    models = {entry.name: parameters.model(entry) for entry in MODALITIES.values() if entry.parameters}
    fields: dict[str, Any] = {name: (model, model()) for name, model in models.items()}
    fields["modality"] = (Literal[tuple(MODALITIES)] | None, None)
    return create_model("FilePart", __base__=_FilePart, __doc__=_FilePart.__doc__, **fields)


LINK_PARTS = {name: _link_part(MODALITIES[name]) for name in FILE_MODALITIES}

if TYPE_CHECKING:  # what follows from the registry exists at run time only
    FilePart = _FilePart
    MediaPart = LinkPart | InputAudioPart | ContextTextPart | EmbeddingPart | FilePart
else:
    FilePart = _file_part()
    MediaPart = Union[(*LINK_PARTS.values(), InputAudioPart, ContextTextPart, EmbeddingPart, FilePart)]
ContentPart = Annotated[TextPart | MediaPart, Field(discriminator="type")]


def unread(part: PartModel) -> list[str]:
    """The fields of a content part that nothing reads, also those inside of its link."""
    inner = [value for name in type(part).model_fields if isinstance(value := getattr(part, name), PartModel)]
    return [*(part.model_extra or ()), *(name for one in inner for name in one.model_extra or ())]


def as_text_parts(value: object) -> object:
    """A string as one text part; a list's strings as text parts."""
    if value is None or isinstance(value, str):
        value = [value or ""]
    if isinstance(value, list):
        return [{"type": "text", "text": item} if isinstance(item, str) else item for item in value]
    return value


class Message(PartModel):
    """`tool_calls` and the older `function_call` are an assistant's; a message of the role tool or function holds what
    a call returned. `prefix`: the answer goes on with this message, the last one."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[
        list[ContentPart],
        Field(max_length=MAX_PARTS, default_factory=list),
        BeforeValidator(as_text_parts, json_schema_input_type=str | list[ContentPart] | None),
    ]
    tool_calls: Annotated[list[ToolCallPart], Field(max_length=MAX_TOOLS)] | None = None
    function_call: CalledFunction | None = None
    tool_call_id: CallId | None = None
    prefix: bool | None = None

    @model_validator(mode="after")
    def _has_content_or_calls(self) -> "Message":
        if "content" not in self.model_fields_set and not self.tool_calls and self.function_call is None:
            raise FieldError("content", "is required")
        if (self.tool_calls or self.function_call) and self.role != "assistant":
            raise FieldError("tool_calls", "is a field of the assistant's messages")
        return self
