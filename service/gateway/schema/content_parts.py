"""Content parts and messages of a conversation, typed and bounded."""

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
MAX_OF_VECTOR = 1e6  # size of an embedding's number

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Url = Annotated[str, StringConstraints(min_length=1)]  # bounded by the body; most are data URLs
Vector = Annotated[
    list[Annotated[float, Field(ge=-MAX_OF_VECTOR, le=MAX_OF_VECTOR)]], Field(min_length=1, max_length=65_536)
]
Base64Text = Annotated[str, StringConstraints(min_length=1)]  # of a medium; bounded by the body
Base64 = Annotated[str, StringConstraints(min_length=1, max_length=400_000)]  # of float32, as encoding_format base64
if TYPE_CHECKING:
    Modalities = str
else:
    Modalities = Literal[tuple(MODALITIES)]
Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT)]


class TextPart(PartModel):
    type: Literal["text"]
    text: Text = Field(description="Words of the message")


class Link(PartModel):
    """Link to a medium."""

    url: Url = Field(description="A data URL, `file:<id>` of an upload, or an http(s) URL that the operator allows")


class InputAudio(PartModel):
    """A sound's bytes."""

    data: Annotated[str, StringConstraints(min_length=1)] = Field(description="The sound in base64, or a data URL")
    format: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="wav, mp3, flac, ogg or m4a; the bytes decide. Default: what the bytes are."
    )


class FileRef(PartModel):
    """An upload by its id, or the bytes themselves as a data URL or plain base64. `filename` may show the modality."""

    file_id: Name | None = Field(default=None, description="An upload's id. Default: none, then `file_data` is needed.")
    file_data: Url | None = Field(default=None, description="The bytes as a data URL or base64. Default: none.")
    filename: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        default=None, description="The file's name, whose ending may tell the modality. Default: none."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "FileRef":
        if (self.file_id is None) == (self.file_data is None):
            raise FieldError("file_id", "is required, or file_data in its place")
        return self


class WeightedPart(PartModel):
    """Base of the parts that hold a medium."""

    weight: Weight = Field(default=1.0, description="The medium's share where several are composed (no unit)")


class NamedPart(WeightedPart):
    """Base of the parts whose bytes a `uuid` names for later parts, which then need no bytes, as in vLLM."""

    uuid: Name | None = Field(
        default=None,
        description="Your name of these bytes; a later part with it needs none, as long as they are cached. Default: "
        "none.",
    )


class RecalledPart(NamedPart):
    """Base of the parts that hold a medium, or the `uuid` of one that was sent before. `payload` is the medium's field;
    vLLM's clients send null or an empty object there."""

    @classmethod
    def payload(cls) -> str:
        raise NotImplementedError  # pydantic's classes cannot be abstract

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("uuid") is not None and given.get(cls.payload()) == {}:
            return {**given, cls.payload(): None}
        return given

    @model_validator(mode="after")
    def _is_there(self) -> "RecalledPart":
        if self.is_recalled and self.uuid is None:
            raise FieldError(self.payload(), "is required, or a uuid that names a medium sent before")
        return self

    @property
    def is_recalled(self) -> bool:
        return getattr(self, self.payload()) is None


class EmbeddingPart(WeightedPart):
    """A vector of the model's shared space, as /v1/embeddings gives it, in the place of a medium."""

    type: Literal["embedding"]
    embedding: Vector | Base64 = Field(
        description="As many finite numbers as the model's `embedding_dim`, or base64 of little-endian float32"
    )
    modality: Modalities = Field(default="image", description="Modality that the vector stands for")


class InputAudioPart(RecalledPart):
    type: Literal["input_audio"]
    input_audio: InputAudio | None = Field(
        default=None, description="The sound. Default: none, then `uuid` names one sent before."
    )

    @classmethod
    def payload(cls) -> str:
        return "input_audio"


class ContextTextPart(WeightedPart):
    type: Literal["context_text"]
    context_text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)] = Field(
        description="Words for the text encoder, beside the media and not in the prompt"
    )


class LinkPart(RecalledPart):
    """Base of the parts by link, one for each modality: `image_url` holds a `url` and the modality's parameters."""

    modality: ClassVar[str]

    @classmethod
    def payload(cls) -> str:
        return MODALITIES[cls.modality].part

    @property
    def link(self) -> Link:
        """Of a part that is not recalled."""
        link: Link = getattr(self, self.payload())
        return link

    @property
    def params(self) -> dict[str, Value]:
        return {} if self.is_recalled else parameters.given(getattr(self.link, self.modality, None))


class _FilePart(NamedPart):
    """An upload or the bytes of a file; `text` is context text. Parameters stand under the modality's name, as in its
    part by link. Without a modality the type of a data URL or the file's name gives it."""

    type: Literal["file"]
    file: FileRef = Field(description="The upload, or the bytes")
    modality: str | None = None

    def params(self, modality: str) -> dict[str, Value]:
        return parameters.given(getattr(self, modality, None))


def _as_link(given: object) -> object:
    """Some clients send the URL itself in the place of the object."""
    return {"url": given} if isinstance(given, str) else given


def _link_part(entry: Entry) -> type[LinkPart]:
    """`image_url` for the entry of "image"."""
    title = entry.name.title()
    link = Link
    if entry.parameters:
        params = parameters.model(entry)
        held: dict[str, Any] = {entry.name: (params, Field(default=params(), description=_reading(entry)))}
        link = create_model(f"{title}Link", __base__=Link, __doc__=f"Link to {entry.about}.", **held)
    words = f"{entry.about[0].upper()}{entry.about[1:]}. Default: none, then `uuid` names one sent before."
    fields: dict[str, Any] = {
        "type": (Literal[entry.part], ...),
        entry.part: (
            Annotated[link | None, BeforeValidator(_as_link, json_schema_input_type=link | str | None)],
            Field(default=None, description=words),
        ),
    }
    part = create_model(f"{title}Part", __base__=LinkPart, __doc__=f"By link or as data: {entry.about}.", **fields)
    part.modality = entry.name
    return part


def _file_part() -> type[_FilePart]:
    models = {entry.name: parameters.model(entry) for entry in MODALITIES.values() if entry.parameters}
    fields: dict[str, Any] = {
        name: (model, Field(default=model(), description=_reading(MODALITIES[name]))) for name, model in models.items()
    }
    described = Field(default=None, description="Default: by the data URL's type, or the ending of its name.")
    fields["modality"] = (Literal[tuple(MODALITIES)] | None, described)
    return create_model("FilePart", __base__=_FilePart, __doc__=_FilePart.__doc__, **fields)


def _reading(entry: Entry) -> str:
    return f"How to read {entry.about}. Default: as its file says."


LINK_PARTS = {name: _link_part(MODALITIES[name]) for name in FILE_MODALITIES}

if TYPE_CHECKING:  # the registry's types exist at run time only
    FilePart = _FilePart
    MediaPart = LinkPart | InputAudioPart | ContextTextPart | EmbeddingPart | FilePart
else:
    FilePart = _file_part()
    MediaPart = Union[(*LINK_PARTS.values(), InputAudioPart, ContextTextPart, EmbeddingPart, FilePart)]
ContentPart = Annotated[TextPart | MediaPart, Field(discriminator="type")]


def unread_of_part(part: PartModel) -> list[str]:
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

    role: Literal["system", "developer", "user", "assistant", "tool", "function"] = Field(
        description="Role of the speaker; `developer` is `system`, `function` the older `tool`"
    )
    content: Annotated[
        list[ContentPart],
        Field(max_length=MAX_PARTS, default_factory=list),
        BeforeValidator(as_text_parts, json_schema_input_type=str | list[ContentPart] | None),
    ] = Field(description="A text, or content parts of text and media. Default: none, of a message with `tool_calls`.")
    tool_calls: Annotated[list[ToolCallPart], Field(max_length=MAX_TOOLS)] | None = Field(
        default=None, description="Calls that the assistant made. Default: none."
    )
    function_call: CalledFunction | None = Field(
        default=None, description="One such call, by the older name. Default: none."
    )
    tool_call_id: CallId | None = Field(
        default=None, description="The call whose result this message of the role `tool` holds. Default: none."
    )
    prefix: bool | None = Field(
        default=None,
        description="The answer goes on with this last message. Default: as `continue_final_message`.",
    )

    @model_validator(mode="after")
    def _has_content_or_calls(self) -> "Message":
        if "content" not in self.model_fields_set and not self.tool_calls and self.function_call is None:
            raise FieldError("content", "is required")
        if (self.tool_calls or self.function_call) and self.role != "assistant":
            raise FieldError("tool_calls", "is a field of the assistant's messages")
        return self
