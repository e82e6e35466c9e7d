"""The tools of a request, from any endpoint's body.

An endpoint makes a `ToolRequest` of its body and puts it into `GenerateRequest.tools`; `choice.plan` makes of it what
the worker gets, and `reader.ToolCallReader` reads the calls out of the answer's text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ToolMode = Literal["none", "auto", "required"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function. `parameters` is the JSON schema of its arguments; None for none. `where` names it in errors.

    strict: arguments that follow the schema to the letter, or a refusal of a schema that cannot be followed.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    strict: bool = False
    where: str = field(default="tools", compare=False)

    def definition(self) -> dict[str, Any]:
        """As OpenAI writes it in chat completions, and as models read it."""
        described = {"description": self.description} if self.description else {}
        schema = self.parameters or {"type": "object", "properties": {}}
        return {"type": "function", "function": {"name": self.name, **described, "parameters": schema}}


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """The functions that may be called, and whether one must be. parallel: several calls in one answer."""

    tools: tuple[Tool, ...] = ()
    mode: ToolMode = "none"
    parallel: bool = True

    @property
    def offered(self) -> bool:
        return bool(self.tools) and self.mode != "none"


NO_TOOLS = ToolRequest()


def chosen(
    tools: tuple[Tool, ...], mode: ToolMode | None, names: tuple[str, ...] | None, parallel: bool
) -> ToolRequest:
    """names: the only ones that may be called. Raises ValueError for a name that is not among the tools, and for a call
    that is required of no tool."""
    left = tools if names is None else tuple(tool for tool in tools if tool.name in names)
    known = {tool.name for tool in tools}
    if any(name not in known for name in names or ()):
        raise ValueError("names a function that is not among the tools")
    if mode == "required" and not left:
        raise ValueError("requires a call; there are no tools")
    return ToolRequest(left, mode or ("auto" if left else "none"), parallel)
