"""The tools of a chat body as a `ToolRequest`, and the calls of its history."""

import json
from collections.abc import Sequence

from pandagpt_core.types import ToolCall
from service.gateway.errors import GatewayError
from service.gateway.schema.content_parts import Message
from service.gateway.schema.requests import ChatBody
from service.gateway.schema.tools import (
    AllowedToolsChoice,
    CalledFunction,
    FunctionDefinition,
    NamedFunction,
    NamedTool,
)
from service.gateway.tools.request import NO_TOOLS, Tool, ToolMode, ToolRequest, chosen

ModeAndNames = tuple[
    ToolMode | None, tuple[str, ...] | None
]  # the mode, and the names of the only functions that may be


def tools_of(body: ChatBody) -> ToolRequest:
    """From `tools` or, in their absence, `functions`. Raises `invalid_request`."""
    if body.tools or body.tool_choice is not None or not body.functions:
        tools = [tool_of(one.function, f"tools[{at}].function") for at, one in enumerate(body.tools or ())]
        return tool_request(tools, _of_choice(body.tool_choice), _parallel(body), "tool_choice")
    functions = [tool_of(one, f"functions[{at}]") for at, one in enumerate(body.functions)]
    return tool_request(functions, _of_function_call(body.function_call), False, "function_call")


def _parallel(body: ChatBody) -> bool:
    """A function that is named is called once."""
    return body.parallel_tool_calls is not False and not isinstance(body.tool_choice, NamedTool)


def is_legacy(body: ChatBody) -> bool:
    """Whether the caller reads calls as `function_call`."""
    return bool(body.functions) and not body.tools


def calls_of(message: Message) -> tuple[ToolCall, ...]:
    """An assistant's calls in a history."""
    called = [call.function for call in message.tool_calls or ()]
    return tuple(ToolCall(one.name, _arguments(one)) for one in [*called, *_older(message)])


def characters_of(tools: Sequence[Tool]) -> int:
    return sum(len(json.dumps(tool.definition())) for tool in tools)


def _older(message: Message) -> list[CalledFunction]:
    return [message.function_call] if message.function_call is not None else []


def _arguments(called: CalledFunction) -> str:
    return called.arguments if isinstance(called.arguments, str) else json.dumps(called.arguments, ensure_ascii=False)


def tool_of(function: FunctionDefinition, where: str) -> Tool:
    return Tool(function.name, function.description or "", function.parameters, bool(function.strict), where)


def _of_choice(choice: object) -> ModeAndNames:
    match choice:
        case NamedTool():
            return "required", (choice.function.name,)
        case AllowedToolsChoice():
            allowed = choice.allowed_tools
            return allowed.mode, tuple(tool.function.name for tool in allowed.tools)
        case "none" | "auto" | "required":
            return choice, None
    return None, None


def _of_function_call(choice: object) -> ModeAndNames:
    match choice:
        case NamedFunction():
            return "required", (choice.name,)
        case "none" | "auto":
            return choice, None
    return None, None


def tool_request(tools: Sequence[Tool], choice: ModeAndNames, parallel: bool, param: str) -> ToolRequest:
    """param: the field of the choice. Raises `invalid_request`."""
    mode, names = choice
    if not tools and mode in (None, "none", "auto"):
        return NO_TOOLS
    try:
        return chosen(tuple(tools), mode, names, parallel)
    except ValueError as error:
        raise GatewayError("invalid_request", f"{param} {error}.", param=param) from None
