"""Tools in a prompt: the functions that a model may call, its calls, and their results.

A call is written as Hermes writes it (Nous Research, "Hermes Function Calling", 2024), which Qwen and SmolLM2 learned:
`{"name": ..., "arguments": {...}}` between tags, each on a line of its own. A model that did not learn it writes it
where a grammar forces it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pandagpt_core.types import ToolCall

CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
NAME_BEFORE, ARGUMENTS_BEFORE = '{"name": "', '", "arguments": '  # in a call, before its name and its arguments


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """The text around the definitions of tools, which stand one a line in a system turn, and around a result."""

    definitions: tuple[str, str]
    result: tuple[str, str]


HERMES = ToolFormat(
    definitions=(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n",
        "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
        "<tool_call></tool_call> XML tags:\n<tool_call>\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>',
    ),
    result=("<tool_response>\n", "\n</tool_response>"),
)
# For models that learned no form: as short as can be.
PLAIN = ToolFormat(
    definitions=("You call these functions, each described by JSON:\n", "\nA call is JSON with name and arguments."),
    result=("The function returned: ", ""),
)


def call_texts(calls: Iterable[ToolCall]) -> list[str]:
    """Each call as a model writes it, but for its tags, which the template writes."""
    return [f"{NAME_BEFORE}{json_inside(call.name)}{ARGUMENTS_BEFORE}{call.arguments or '{}'}}}" for call in calls]


def json_inside(name: str) -> str:
    """A name as it stands inside of a JSON string."""
    return json.dumps(name, ensure_ascii=False)[1:-1]


def characters(calls: Iterable[ToolCall]) -> int:
    return sum(len(call.name) + len(call.arguments) for call in calls)
