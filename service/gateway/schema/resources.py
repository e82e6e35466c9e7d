"""The shapes of what endpoints other than those for answers give, for the written interface."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from pandagpt_core.types import OptionKind, ToolSupport
from service.gateway.schema.answers import FirstId, HasMore, LastId
from service.gateway.schema.documented import ErrorDetail

TimeSpan = Annotated[list[float], Field(min_length=2, max_length=2, description="Begin and end (seconds)")]


class OwnParameter(BaseModel):
    """A parameter as the file states it, null where it does not; and the place that states it, or why none does."""

    value: float | str | None = Field(description="The value (in the parameter's unit); null where the file has none")
    reason: str = Field(description="Place of the value in the file, or the reason why it has none")


class Inspected(BaseModel):
    """The reading of one file."""

    object: Literal["media.inspection"]
    modality: str = Field(description="The modality, from the field's name")
    recipe: str = Field(description="The recipe by which it was read, as docs/media.md lists them")
    array: list[int] = Field(description="Shape of the encoder's array (numbers)")
    facts: dict[str, str] = Field(description="Facts of the reading, by name")
    spans: list[TimeSpan] = Field(description="The parts of a long medium that are looked at")
    warnings: list[str] = Field(description="The reader's notes")
    parameters: dict[str, OwnParameter] = Field(
        description="Parameters of the modality that the file names itself, by name"
    )
    preview: str | None = Field(description="Data URL of a PNG of the array; null for what is no picture")


class Inspection(BaseModel):
    """The readings of files, in the order sent."""

    object: Literal["list"]
    data: list[Inspected] = Field(description="One a file")


class ModelOption(BaseModel):
    """An option that a request may set in `options`."""

    name: str = Field(description="Its name in `options`")
    kind: OptionKind = Field(description="The type of its value")
    description: str = Field(description="Effect of the option")
    unit: str = Field(description="Unit of its value; empty where it has none")
    default: bool | int | float | str | list[list[float]] | None = Field(
        description="Its value where the request has none (as `unit` says)"
    )
    minimum: float | None = Field(description="Lowest value (as `unit` says); null: no bound")
    maximum: float | None = Field(description="Highest value (as `unit` says); null: no bound")
    choices: list[str] = Field(description="The values of a choice; else empty")


class Model(BaseModel):
    """A model that workers serve."""

    id: str = Field(description="The name for `model` in a request")
    object: Literal["model"]
    created: int = Field(description="Time its folder was made (Unix seconds)")
    owned_by: str = Field(description="Always `pandagpt`")
    system: str = Field(description="The published system it is of: pandagpt, imagebind_llm or minigpt_v2")
    input_modalities: list[str] = Field(description="The modalities that it takes")
    recipes: dict[str, str] = Field(
        description="Of each modality the recipe by which its files are read (docs/media.md)"
    )
    media_parameters: dict[str, list[str]] = Field(
        description="Of each modality the parameters that a medium of it may have for this model (docs/media.md)"
    )
    version: str = Field(description="The version of its folder")
    max_model_len: int = Field(description="Its context: prompt, media and answer together (tokens)")
    embedding_dim: int = Field(description="Width of its shared space; 0: it has none (numbers)")
    speech: bool = Field(description="Whether it writes down speech, for /v1/audio and beside a chat's sounds")
    tools: ToolSupport = Field(description="`auto`: it calls functions by itself; `forced`: only where it must")
    embedding_dimensions: list[int] = Field(description="Widths that `dimensions` of /v1/embeddings may name (numbers)")
    options: list[ModelOption] = Field(description="Allowed `options` of a request")


class ModelList(BaseModel):
    """The models that workers serve."""

    object: Literal["list"]
    data: list[Model] = Field(description="The models")


class File(BaseModel):
    """An uploaded file."""

    id: str = Field(description="The file's name; `file:<id>` stands for it in any `url`")
    object: Literal["file"]
    bytes: int = Field(description="Its size (bytes)")
    created_at: int = Field(description="Time of its upload (Unix seconds)")
    expires_at: int = Field(description="Time of its end (Unix seconds)")
    filename: str = Field(description="Its name, with unsafe characters replaced")
    purpose: str = Field(description="As it was sent")
    status: Literal["processed"]


class FileList(BaseModel):
    """A page of files."""

    object: Literal["list"]
    data: list[File] = Field(description="The files of this page")
    first_id: FirstId
    last_id: LastId
    has_more: HasMore


class DeletedFile(BaseModel):
    """A file that is gone."""

    id: str = Field(description="The name it had")
    object: Literal["file"]
    deleted: bool = Field(description="Always true")


class Timings(BaseModel):
    """Times of a request's stages; null where not reached."""

    created: float = Field(description="Its arrival (Unix seconds)")
    deadline: float = Field(description="Its deadline (Unix seconds)")
    taken: float | None = Field(description="Time a worker took it (Unix seconds)")
    started: float | None = Field(description="Time the model began with it (Unix seconds)")
    first_token: float | None = Field(description="Its first token (Unix seconds)")
    finished: float | None = Field(description="Its end (Unix seconds)")


class RequestUsage(BaseModel):
    """Counts of tokens read and written."""

    prompt_tokens: int = Field(description="Read: prompt and media (tokens)")
    completion_tokens: int = Field(description="Written so far (tokens)")
    total_tokens: int = Field(description="Both together (tokens)")
    cached_items: int = Field(description="Media whose vectors were known (media)")


class RequestStatus(BaseModel):
    """State of a request."""

    id: str = Field(description="The request's name")
    object: Literal["request"]
    model: str = Field(description="The model that answers")
    status: Literal["queued", "running", "done", "cancelled", "failed"] = Field(description="State of the request")
    position: int | None = Field(description="Its place in the queue, 0 next; null once it was taken (requests)")
    attempts: int = Field(description="Workers that took it (attempts)")
    usage: RequestUsage = Field(description="Counts of tokens read and written")
    timings: Timings = Field(description="Times of its stages")
    error: ErrorDetail | None = Field(description="The error of a failed one, else null")


class Live(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Ready(BaseModel):
    """A request sent now would be taken."""

    status: Literal["ok"]
    models: list[str] = Field(description="Models that a worker takes requests for")


class Version(BaseModel):
    """The service's version."""

    version: str = Field(description="As in `pandagpt --version`")
