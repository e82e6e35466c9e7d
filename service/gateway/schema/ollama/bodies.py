"""The bodies of Ollama's endpoints (docs/api.md of ollama/ollama), as far as a model here has a use for them."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from service.gateway.schema.body import BodyModel, PartModel
from service.gateway.schema.content_parts import Base64Text, Text
from service.gateway.schema.embeddings import MAX_EMBED_INPUTS
from service.gateway.schema.requests import MAX_MESSAGES
from service.gateway.schema.tools import MAX_TOOLS

LATEST = ":latest"  # the tag that Ollama's clients add

ModelTag = Annotated[
    str, StringConstraints(min_length=1, max_length=256), AfterValidator(lambda name: name.removesuffix(LATEST))
]
Images = Annotated[list[Base64Text], Field(max_length=256)]
Format = Literal["", "json"] | dict[str, Any]


class OllamaFunction(PartModel):
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    arguments: dict[str, Any] = Field(default_factory=dict)


class Called(PartModel):
    function: OllamaFunction


class OllamaMessage(PartModel):
    """images: base64. A message of the role tool is what a function returned."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Text | None = None
    images: Images | None = None
    tool_calls: Annotated[list[Called], Field(max_length=MAX_TOOLS)] | None = None


class _Asked(BodyModel):
    """`options` are Ollama's names of sampling parameters; `keep_alive` has no meaning here."""

    model: ModelTag
    options: dict[str, Any] | None = None
    format: Format | None = None
    stream: bool = True
    keep_alive: str | float | None = None
    think: bool | str | None = None


class OllamaChat(_Asked):
    """POST /api/chat. Without messages the answer shows that the model is there."""

    messages: Annotated[list[OllamaMessage], Field(max_length=MAX_MESSAGES, default_factory=list)]
    tools: list[dict[str, Any]] | None = None


class OllamaGenerate(_Asked):
    """POST /api/generate. `raw`: the prompt is continued as it stands, without the model's template."""

    prompt: Text = ""
    system: Text | None = None
    images: Images | None = None
    raw: bool = False
    suffix: Text | None = None
    template: Text | None = None
    context: list[int] | None = None


class OllamaEmbed(BodyModel):
    """POST /api/embed. A text beyond the window is cut unless `truncate` is false."""

    model: ModelTag
    input: Text | Annotated[list[Text], Field(max_length=MAX_EMBED_INPUTS)]
    truncate: bool = True
    dimensions: Annotated[int, Field(ge=1, le=65_536)] | None = None
    options: dict[str, Any] | None = None
    keep_alive: str | float | None = None


class OllamaShow(BodyModel):
    """POST /api/show."""

    model: ModelTag
    verbose: bool | None = None
