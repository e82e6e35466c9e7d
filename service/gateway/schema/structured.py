"""Structured output in a body: OpenAI's `response_format`, vLLM's `structured_outputs` and its older `guided_*`."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from service.gateway.schema.body import PartModel

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=65_536)]
Choices = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=4096)]], Field(min_length=1, max_length=1000)
]
Schema = dict[str, Any] | bool


class NamedSchema(PartModel):
    """A JSON schema with OpenAI's name for it. `strict` changes nothing: a schema is always followed."""

    name: Annotated[str, StringConstraints(max_length=64)] | None = None
    description: Annotated[str, StringConstraints(max_length=4096)] | None = None
    schema_: Annotated[Schema, Field(alias="schema")]
    strict: bool | None = None


class TextFormat(PartModel):
    type: Literal["text"]


class JsonObjectFormat(PartModel):
    type: Literal["json_object"]


class JsonSchemaFormat(PartModel):
    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StructuredOutputs(PartModel):
    """Exactly one of these."""

    json_: Annotated[Schema | str | None, Field(alias="json")] = None
    regex: Pattern | None = None
    choice: Choices | None = None
    grammar: Pattern | None = None
