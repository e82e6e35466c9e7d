"""An answer with calls of functions, in OpenAI's words: the deltas of a stream, and a whole message."""

import hashlib
from typing import Any, Literal

from service.gateway.tools.reader import ArgumentsDelta, CallBegun, TextDelta, ToolCallReader, ToolDelta

CallStyle = Literal["tool_calls", "function_call"]  # the field that the client reads


def call_id(answer_id: str, choice: int, index: int) -> str:
    """The same for the same call of an answer, on any gateway and however often it is read."""
    return "call_" + hashlib.sha256(f"{answer_id}/{choice}/{index}".encode()).hexdigest()[:24]


class CallFold:
    """One choice's text into deltas. `style` is also the finish reason of an answer with calls."""

    def __init__(self, style: CallStyle, answer_id: str, choice: int) -> None:
        self._style, self._answer_id, self._choice = style, answer_id, choice
        self._reader = ToolCallReader()

    def feed(self, text: str, *, ended: bool) -> list[dict[str, Any]]:
        """ended: the choice's last piece."""
        deltas = self._reader.feed(text)
        if ended:
            deltas += self._reader.finish()
        return [self._delta(delta) for delta in deltas]

    def finish_reason(self, reason: str) -> str:
        return self._style if self._reader.calls and reason == "stop" else reason

    def _delta(self, delta: ToolDelta) -> dict[str, Any]:
        match delta:
            case TextDelta():
                return {"content": delta.text}
            case CallBegun() if self._style == "function_call":
                return {"function_call": {"name": delta.name, "arguments": ""}}
            case CallBegun():
                function = {"name": delta.name, "arguments": ""}
                begun = {"id": call_id(self._answer_id, self._choice, delta.index), "type": "function"}
                return {"tool_calls": [{"index": delta.index, **begun, "function": function}]}
            case ArgumentsDelta() if self._style == "function_call":
                return {"function_call": {"arguments": delta.text}}
            case ArgumentsDelta():
                return {"tool_calls": [{"index": delta.index, "function": {"arguments": delta.text}}]}


def message_of(style: CallStyle, answer_id: str, choice: int, text: str) -> dict[str, Any]:
    """The fields of a whole message: `content`, null where there are only calls, and the calls."""
    reader = ToolCallReader()
    content, calls = "", list[dict[str, Any]]()
    for delta in [*reader.feed(text), *reader.finish()]:
        match delta:
            case TextDelta():
                content += delta.text
            case CallBegun():
                calls.append({"name": delta.name, "arguments": ""})
            case ArgumentsDelta():
                calls[delta.index]["arguments"] += delta.text
    if not calls:
        return {"content": content}
    if style == "function_call":
        return {"content": content or None, "function_call": calls[0]}
    listed = [
        {"id": call_id(answer_id, choice, index), "type": "function", "function": call}
        for index, call in enumerate(calls)
    ]
    return {"content": content or None, "tool_calls": listed}
