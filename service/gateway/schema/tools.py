"""Tools in a body: OpenAI's `tools` and `tool_choice`, its older `functions` and `function_call`, and a history's."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag

from service.gateway.schema.body import PartModel

MAX_TOOLS = 128

FunctionName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
CallId = Annotated[str, StringConstraints(max_length=512)]
Arguments = Annotated[str, StringConstraints(max_length=200_000)]


class FunctionDefinition(PartModel):
    """A function that the model may call. strict: its schema is followed to the letter, or the request refused."""

    name: FunctionName
    description: Annotated[str, StringConstraints(max_length=65_536)] | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(PartModel):
    type: Literal["function"] = "function"
    function: FunctionDefinition


class NamedFunction(PartModel):
    name: FunctionName


class NamedTool(PartModel):
    type: Literal["function"] = "function"
    function: NamedFunction


class AllowedTools(PartModel):
    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(max_length=MAX_TOOLS)]


class AllowedToolsChoice(PartModel):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


def _kind_of_choice(value: object) -> str:
    if isinstance(value, dict):
        return "allowed" if value.get("type") == "allowed_tools" else "named"
    return "allowed" if isinstance(value, AllowedToolsChoice) else "named" if isinstance(value, NamedTool) else "mode"


# "any" is what Mistral's and LangChain's clients call it.
_Mode = Annotated[
    Literal["none", "auto", "required"], BeforeValidator(lambda value: "required" if value == "any" else value)
]
Tools = Annotated[list[FunctionTool], Field(max_length=MAX_TOOLS)]
ToolChoice = Annotated[
    Annotated[_Mode, Tag("mode")] | Annotated[NamedTool, Tag("named")] | Annotated[AllowedToolsChoice, Tag("allowed")],
    Discriminator(_kind_of_choice),
]
Functions = Annotated[list[FunctionDefinition], Field(max_length=MAX_TOOLS)]
FunctionChoice = Literal["none", "auto"] | NamedFunction


class CalledFunction(PartModel):
    """A call in a history. `arguments` is JSON text; some clients send the object itself."""

    name: FunctionName
    arguments: Arguments | dict[str, Any] = ""


class ToolCallPart(PartModel):
    id: CallId | None = None
    type: Literal["function"] = "function"
    function: CalledFunction
