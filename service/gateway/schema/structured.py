"""Structured output in a body: OpenAI's `response_format`, vLLM's `structured_outputs` and its older `guided_*`."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from service.gateway.schema.body import PartModel

GuidedPattern = Annotated[str, StringConstraints(min_length=1, max_length=65_536)]
GuidedChoices = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=4096)]], Field(min_length=1, max_length=1000)
]
SchemaOrBool = dict[str, Any] | bool


class NamedSchema(PartModel):
    """A JSON schema with OpenAI's name for it. `strict` changes nothing: a schema is always followed."""

    name: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="A name for it; changes nothing. Default: none."
    )
    description: Annotated[str, StringConstraints(max_length=4096)] | None = Field(
        default=None, description="Words about it; change nothing. Default: none."
    )
    schema_: Annotated[SchemaOrBool, Field(alias="schema")] = Field(
        description="The JSON schema, at most 64 KiB and 32 levels deep"
    )
    strict: bool | None = Field(
        default=None, description="Changes nothing: schemas are always followed. Default: true."
    )


class TextFormat(PartModel):
    """Text without a form."""

    type: Literal["text"]


class JsonObjectFormat(PartModel):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(PartModel):
    """JSON that follows a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema = Field(description="The schema with its name")


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StructuredOutputs(PartModel):
    """Exactly one of these."""

    json_: Annotated[SchemaOrBool | str | None, Field(alias="json")] = Field(
        default=None, description="A JSON schema, or its text. Default: none."
    )
    regex: GuidedPattern | None = Field(
        default=None, description="A regular expression of the whole answer. Default: none."
    )
    choice: GuidedChoices | None = Field(default=None, description="The answers to choose from. Default: none.")
    grammar: GuidedPattern | None = Field(default=None, description="A Lark grammar. Default: none.")
