"""Tools in the body of POST /v1/responses: a function's fields stand beside its `type`, in chat one level deeper."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from service.gateway.schema.body import PartModel
from service.gateway.schema.tools import MAX_TOOLS, FunctionDefinition, FunctionName, ToolMode, kind_of_choice


class _OfFunctions(PartModel):
    type: Literal["function"]


class ResponseFunctionTool(FunctionDefinition, _OfFunctions):  # in this order a wrong type is the first mistake
    """A function that the model may call."""


class ChosenFunction(PartModel):
    type: Literal["function"] = "function"
    name: FunctionName


class AllowedFunctions(PartModel):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[ChosenFunction], Field(max_length=MAX_TOOLS)]


ResponseTools = Annotated[list[ResponseFunctionTool], Field(max_length=MAX_TOOLS)]
ResponseToolChoice = Annotated[
    Annotated[ToolMode, Tag("mode")]
    | Annotated[ChosenFunction, Tag("named")]
    | Annotated[AllowedFunctions, Tag("allowed")],
    Discriminator(kind_of_choice),
]
