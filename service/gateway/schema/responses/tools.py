"""Tools in the body of POST /v1/responses: a function's fields stand beside its `type`, in chat one level deeper."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from service.gateway.schema.body import PartModel
from service.gateway.schema.tools import MAX_TOOLS, FunctionDefinition, FunctionName, SentToolMode, kind_of_choice


class _OfFunctions(PartModel):
    type: Literal["function"]


class ResponseFunctionTool(FunctionDefinition, _OfFunctions):  # in this order a wrong type is the first mistake
    """A function that the model may call."""


class ChosenFunction(PartModel):
    """A function by its name."""

    type: Literal["function"] = "function"
    name: FunctionName = Field(description="The name of one of the functions offered")


class AllowedFunctions(PartModel):
    """Some of the functions offered."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"] = Field(description="Whether one of them must be called")
    tools: Annotated[list[ChosenFunction], Field(max_length=MAX_TOOLS)] = Field(
        description="Functions that may be called"
    )


ResponseTools = Annotated[list[ResponseFunctionTool], Field(max_length=MAX_TOOLS)]
ResponseToolChoice = Annotated[
    Annotated[SentToolMode, Tag("mode")]
    | Annotated[ChosenFunction, Tag("named")]
    | Annotated[AllowedFunctions, Tag("allowed")],
    Discriminator(kind_of_choice),
]
