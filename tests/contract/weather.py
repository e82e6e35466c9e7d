"""Functions that a model may call, and the arguments with which the scripted model calls the first."""

from typing import Any

WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
TOOLS: Any = [{"type": "function", "function": WEATHER}, {"type": "function", "function": {"name": "now"}}]
ARGUMENTS = {"city": "Paris", "days": 36}
