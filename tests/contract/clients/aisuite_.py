"""aisuite: an answer whole and streamed by its provider for OpenAI's interface, and a function's call."""

import json
import sys
from typing import Any

import aisuite

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def main(url: str) -> None:
    client: Any = aisuite.Client({"openai": {"base_url": url, "api_key": "none", "max_retries": 0}})
    asked: Any = {"model": "openai:scripted", "messages": [{"role": "user", "content": "The weather?"}]}
    assert client.chat.completions.create(**asked).choices[0].message.content == "It is sunny in Paris."
    streamed = client.chat.completions.create(**asked, stream=True)
    assert "".join(one.choices[0].delta.content or "" for one in streamed) == "It is sunny in Paris."
    whole = client.chat.completions.create(**asked, tools=[WEATHER], max_tokens=400)
    assert json.loads(whole.choices[0].message.tool_calls[0].function.arguments) == {"city": "Paris"}


main(sys.argv[1])
