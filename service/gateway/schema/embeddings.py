"""The bodies of POST /v1/embeddings, /v1/rerank and /v1/score, and their answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from pandagpt_core.types import Priority
from service.gateway.errors import FieldError
from service.gateway.schema.body import BodyModel, PartModel
from service.gateway.schema.content_parts import MAX_TEXT, MediaPart, TextPart, as_text_parts
from service.gateway.schema.requests import ModelName, TokenId, User

MAX_EMBED_INPUTS = 4096
MAX_TOWER_IDS = 16_384


class TokensPart(PartModel):
    """A text as token ids of the model's text tower, without the two markers around it."""

    type: Literal["tokens"]
    tokens: Annotated[list[TokenId], Field(min_length=1, max_length=MAX_TOWER_IDS)]


EmbedPart = Annotated[TextPart | TokensPart | MediaPart, Field(discriminator="type")]
_Said = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
_Ids = Annotated[list[TokenId], Field(min_length=1, max_length=MAX_TOWER_IDS)]


def _is_ids(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int for one in value)


def as_embed_parts(value: object) -> object:
    """A string, a part, a list of token ids, or a list of these, as a list of parts."""
    if isinstance(value, dict) or _is_ids(value):
        value = [value]
    if not isinstance(value, list):
        return as_text_parts(value)
    return as_text_parts([{"type": "tokens", "tokens": one} if isinstance(one, list) else one for one in value])


EmbedInputs = Annotated[
    list[EmbedPart],
    Field(min_length=1, max_length=MAX_EMBED_INPUTS),
    BeforeValidator(
        as_embed_parts,
        json_schema_input_type=_Said
        | EmbedPart
        | _Ids
        | Annotated[list[_Said | EmbedPart | _Ids], Field(min_length=1, max_length=MAX_EMBED_INPUTS)],
    ),
]


def _lower(value: object) -> object:
    """Cohere's words are in capitals."""
    return value.lower() if isinstance(value, str) else value


Truncate = Annotated[bool | Literal["none", "start", "end"], BeforeValidator(_lower)]


class LongText(BodyModel):
    """What becomes of a text beyond the tower's window; without either it is refused."""

    truncate: Truncate | None = Field(
        default=None, description="Leave out the start or the end of a text beyond the window; true: the end"
    )
    chunk: Literal["mean"] | None = Field(
        default=None, description="Embed a text beyond the window in pieces; the mean of them, weighed by tokens"
    )

    @property
    def cut(self) -> Literal["none", "start", "end", "windows"]:
        """Raises FieldError where both are asked for."""
        cuts = self.truncate not in (None, False, "none")
        if self.chunk and cuts:
            raise FieldError("chunk", "and truncate are two answers to one question; send one")
        if self.chunk:
            return "windows"
        return "none" if not cuts else "start" if self.truncate == "start" else "end"


class EmbedBody(LongText):
    """POST /v1/embeddings. A string is embedded by the text tower."""

    model: ModelName | None = None
    input: EmbedInputs
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        default=None, description="Width of the vectors: the model's own, or another that /v1/models lists"
    )
    user: User | None = None
    priority: Priority | None = None


def _as_part(value: object) -> object:
    """Jina's `{"text": …}` and `{"image": <URL>}`, vLLM's `{"content": [part]}`, and strings, as content parts."""
    if not isinstance(value, dict) or "type" in value:
        return value
    match value:
        case {"text": str() as text}:
            return {"type": "text", "text": text}
        case {"image": str() as url}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"content": [part]}:
            return part
    return value


def _as_query(value: object) -> object:
    return as_embed_parts(_as_part(value))


def _as_documents(value: object) -> object:
    if isinstance(value, list) and not _is_ids(value):
        return as_embed_parts([_as_part(one) for one in value])
    return _as_query(value)


_Document = _Said | EmbedPart | Annotated[dict[str, Any], Field(description='{"text": …} or {"image": <URL>}')]
Query = Annotated[
    list[EmbedPart],
    Field(min_length=1, max_length=1),
    BeforeValidator(_as_query, json_schema_input_type=_Document),
]
Documents = Annotated[
    list[EmbedPart],
    Field(min_length=1, max_length=MAX_EMBED_INPUTS),
    BeforeValidator(
        _as_documents,
        json_schema_input_type=Annotated[list[_Document], Field(min_length=1, max_length=MAX_EMBED_INPUTS)],
    ),
]
Texts = Annotated[
    list[EmbedPart],
    Field(min_length=1, max_length=MAX_EMBED_INPUTS),
    BeforeValidator(
        _as_documents,
        json_schema_input_type=_Document | Annotated[list[_Document], Field(min_length=1, max_length=MAX_EMBED_INPUTS)],
    ),
]


class RerankBody(LongText):
    """POST /v1/rerank, as Jina and Cohere have it: documents in the order of their similarity with the query."""

    model: ModelName | None = None
    query: Query
    documents: Documents
    top_n: Annotated[int, Field(ge=1, le=MAX_EMBED_INPUTS)] | None = Field(
        default=None, description="Documents answered, the most similar ones; all without it"
    )
    return_documents: bool = Field(default=True, description="Each result with its document, where that is text")


class ScoreBody(LongText):
    """POST /v1/score, as vLLM has it: how similar the first is to each of the second, or pairs of both."""

    model: ModelName | None = None
    text_1: Texts
    text_2: Texts


class EmbeddingRow(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """`prompt_tokens`: those that the text tower read, its two markers of each text among them."""

    prompt_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int] = Field(default={}, description="Media by modality; they have no tokens")


class EmbeddingList(BaseModel):
    object: Literal["list"]
    data: list[EmbeddingRow]
    model: str
    usage: EmbeddingUsage


class RerankDocument(BaseModel):
    text: str


class RerankResult(BaseModel):
    """`relevance_score`: the cosine of the two vectors, -1 to 1."""

    index: int
    relevance_score: float
    document: RerankDocument | None = None


class Reranking(BaseModel):
    id: str
    model: str
    results: list[RerankResult]
    usage: EmbeddingUsage


class ScoreRow(BaseModel):
    """`score`: the cosine of the two vectors, -1 to 1."""

    index: int
    object: Literal["score"]
    score: float


class ScoreList(BaseModel):
    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[ScoreRow]
    usage: EmbeddingUsage
