"""The bodies of POST /v1/embeddings, /v1/rerank and /v1/score, and their answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from pandagpt_core.types import Priority
from service.gateway.errors import FieldError
from service.gateway.schema.answers import Created, ModelId
from service.gateway.schema.body import BodyModel, PartModel
from service.gateway.schema.content_parts import MAX_TEXT, MediaPart, TextPart, as_text_parts
from service.gateway.schema.sampling import ModelName, TokenId, User

MAX_EMBED_INPUTS = 4096
MAX_TOWER_IDS = 16_384


class TokensPart(PartModel):
    """A text as token ids of the model's text tower, without the two markers around it."""

    type: Literal["tokens"]
    tokens: Annotated[list[TokenId], Field(min_length=1, max_length=MAX_TOWER_IDS)] = Field(
        description="Token ids of the text tower"
    )


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
    """The cut of a text beyond the tower's window; without either it is refused."""

    truncate: Truncate | None = Field(
        default=None,
        description="Leave out the start or the end of a text beyond the window; true: the end. Default: refused.",
    )
    chunk: Literal["mean"] | None = Field(
        default=None,
        description="Embed a text beyond the window in pieces; the mean of them, weighed by tokens. Default: refused.",
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

    model: ModelName = None
    input: EmbedInputs = Field(
        description="A text, token ids of the text tower, a content part, or a list of these: up to the operator's "
        "limit of 4096 (inputs)"
    )
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="Numbers, or base64 of little-endian float32"
    )
    dimensions: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        default=None,
        description="Width of the vectors: one of the model's `embedding_dimensions` (numbers). Default: its own.",
    )
    user: User = None
    priority: Priority | None = Field(
        default=None, description="`batch` runs when nothing `interactive` waits. Default: interactive."
    )


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

    model: ModelName = None
    query: Query = Field(description='A text, a content part, or Jina\'s `{"image": URL}`')
    documents: Documents = Field(description="Texts or content parts, up to the operator's limit of 4096 (documents)")
    top_n: Annotated[int, Field(ge=1, le=MAX_EMBED_INPUTS)] | None = Field(
        default=None, description="Documents answered, the most similar ones (documents). Default: all."
    )
    return_documents: bool = Field(default=True, description="Each result with its document, where that is text")


class ScoreBody(LongText):
    """POST /v1/score, as vLLM has it: how similar the first is to each of the second, or pairs of both."""

    model: ModelName = None
    text_1: Texts = Field(description="One text or content part, or as many as in `text_2`")
    text_2: Texts = Field(description="One or several texts or content parts, up to the operator's limit (inputs)")


class EmbeddingRow(BaseModel):
    """The vector of one input."""

    object: Literal["embedding"]
    index: int = Field(description="The input's place, from 0 (inputs)")
    embedding: list[float] | str = Field(description="A vector of length 1; base64 where that was asked for")


class EmbeddingUsage(BaseModel):
    """`prompt_tokens`: the tokens that the text tower read, its two markers of each text among them."""

    prompt_tokens: int = Field(description="Read by the text tower (tokens)")
    total_tokens: int = Field(description="The same number (tokens)")
    prompt_tokens_details: dict[str, int] = Field(default={}, description="Media by modality; they have no tokens")


class EmbeddingList(BaseModel):
    """One vector for each input, in their order."""

    object: Literal["list"]
    data: list[EmbeddingRow] = Field(description="The vectors")
    model: ModelId
    usage: EmbeddingUsage = Field(description="Count of tokens read")


class RerankDocument(BaseModel):
    """A document that is text."""

    text: str = Field(description="The text as it was sent")


class RerankResult(BaseModel):
    """`relevance_score`: the cosine of the two vectors, -1 to 1."""

    index: int = Field(description="The document's place in the request, from 0 (documents)")
    relevance_score: float = Field(description="The cosine of the two vectors, -1 to 1 (no unit)")
    document: RerankDocument | None = Field(default=None, description="The document, where it is text and wanted")


class Reranking(BaseModel):
    """Documents, the most similar first."""

    id: str = Field(description="The request's name")
    model: ModelId
    results: list[RerankResult] = Field(description="The most similar first")
    usage: EmbeddingUsage = Field(description="Count of tokens read")


class ScoreRow(BaseModel):
    """`score`: the cosine of the two vectors, -1 to 1."""

    index: int = Field(description="The pair's place, from 0 (pairs)")
    object: Literal["score"]
    score: float = Field(description="The cosine of the two vectors, -1 to 1 (no unit)")


class ScoreList(BaseModel):
    """The similarity of each pair."""

    id: str = Field(description="The request's name")
    object: Literal["list"]
    created: Created
    model: ModelId
    data: list[ScoreRow] = Field(description="The pairs in their order")
    usage: EmbeddingUsage = Field(description="Count of tokens read")
