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

    name: FunctionName = Field(description="The name that a call has")
    description: Annotated[str, StringConstraints(max_length=65_536)] | None = Field(
        default=None, description="Its work, in words for the model. Default: none."
    )
    parameters: dict[str, Any] | None = Field(
        default=None, description="JSON schema of its arguments. Default: an object without fields."
    )
    strict: bool | None = Field(
        default=None, description="Follow the schema to the letter, or refuse the request. Default: false."
    )


class FunctionTool(PartModel):
    """A tool: always a function."""

    type: Literal["function"] = "function"
    function: FunctionDefinition = Field(description="The function")


class NamedFunction(PartModel):
    """A function by its name."""

    name: FunctionName = Field(description="The name of one of the functions offered")


class NamedTool(PartModel):
    """A tool by its function's name."""

    type: Literal["function"] = "function"
    function: NamedFunction = Field(description="The function")


class AllowedTools(PartModel):
    """Some of the tools offered."""

    mode: Literal["auto", "required"] = Field(description="Whether one of them must be called")
    tools: Annotated[list[NamedTool], Field(max_length=MAX_TOOLS)] = Field(description="Functions that may be called")


class AllowedToolsChoice(PartModel):
    """A choice among some of the tools offered."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools = Field(description="The functions, and whether one must be called")


def kind_of_choice(value: object) -> str:
    """The tag of a choice: `mode`, `named` or `allowed`."""
    if isinstance(value, str):
        return "mode"
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return "allowed" if kind == "allowed_tools" else "named"


# "any" is what Mistral's and LangChain's clients call it.
SentToolMode = Annotated[
    Literal["none", "auto", "required"], BeforeValidator(lambda value: "required" if value == "any" else value)
]
Tools = Annotated[list[FunctionTool], Field(max_length=MAX_TOOLS)]
ToolChoice = Annotated[
    Annotated[SentToolMode, Tag("mode")]
    | Annotated[NamedTool, Tag("named")]
    | Annotated[AllowedToolsChoice, Tag("allowed")],
    Discriminator(kind_of_choice),
]
Functions = Annotated[list[FunctionDefinition], Field(max_length=MAX_TOOLS)]
FunctionChoice = Literal["none", "auto"] | NamedFunction


class CalledFunction(PartModel):
    """A call in a history. `arguments` is JSON text; some clients send the object itself."""

    name: FunctionName = Field(description="The function that was called")
    arguments: Arguments | dict[str, Any] = Field(default="", description="Its arguments: JSON text, or the object")


class ToolCallPart(PartModel):
    """A call in a history."""

    id: CallId | None = Field(default=None, description="The name by which the result refers to it. Default: none.")
    type: Literal["function"] = "function"
    function: CalledFunction = Field(description="The call")
