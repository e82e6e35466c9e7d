"""The tools of a body of /v1/responses as a `ToolRequest`, and as the response object repeats them."""

from typing import Any

from service.gateway.inference.parsing.tools import ModeAndNames, tool_of, tool_request
from service.gateway.schema.responses.bodies import ResponseBody
from service.gateway.schema.responses.tools import AllowedFunctions, ChosenFunction
from service.gateway.tools.request import ToolRequest


def response_tools(body: ResponseBody) -> ToolRequest:
    """Raises `invalid_request`."""
    tools = [tool_of(one, f"tools[{at}]") for at, one in enumerate(body.tools or ())]
    parallel = body.parallel_tool_calls is not False and not isinstance(body.tool_choice, ChosenFunction)
    return tool_request(tools, _choice(body.tool_choice), parallel, "tool_choice")


def tools_shape(body: ResponseBody) -> dict[str, Any]:
    choice = body.tool_choice
    return {
        "tools": [
            {
                **one.model_dump(include={"type", "name", "description"}, exclude_none=True),
                "parameters": one.parameters,
                "strict": bool(one.strict),
            }
            for one in body.tools or ()
        ],
        "tool_choice": choice.model_dump()
        if isinstance(choice, ChosenFunction | AllowedFunctions)
        else choice or "auto",
        "parallel_tool_calls": body.parallel_tool_calls is not False,
    }


def _choice(choice: object) -> ModeAndNames:
    match choice:
        case ChosenFunction():
            return "required", (choice.name,)
        case AllowedFunctions():
            return choice.mode, tuple(tool.name for tool in choice.tools)
        case "none" | "auto" | "required":
            return choice, None
    return None, None
