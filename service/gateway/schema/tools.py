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


def kind_of_choice(value: object) -> str:
    """The tag of a choice: `mode`, `named` or `allowed`."""
    if isinstance(value, str):
        return "mode"
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return "allowed" if kind == "allowed_tools" else "named"


# "any" is what Mistral's and LangChain's clients call it.
ToolMode = Annotated[
    Literal["none", "auto", "required"], BeforeValidator(lambda value: "required" if value == "any" else value)
]
Tools = Annotated[list[FunctionTool], Field(max_length=MAX_TOOLS)]
ToolChoice = Annotated[
    Annotated[ToolMode, Tag("mode")]
    | Annotated[NamedTool, Tag("named")]
    | Annotated[AllowedToolsChoice, Tag("allowed")],
    Discriminator(kind_of_choice),
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
