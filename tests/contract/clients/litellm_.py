"""LiteLLM: tools whole and streamed, usage of a stream, and a context overflow under its own name."""

import json
import sys
from typing import Any

import litellm

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASKED: Any = [{"role": "user", "content": "The weather?"}]


def main(url: str) -> None:
    for provider in ("openai", "hosted_vllm"):
        common: Any = {"model": f"{provider}/scripted", "api_base": url, "api_key": "none", "max_tokens": 400}
        whole: Any = litellm.completion(messages=ASKED, tools=[WEATHER], **common)
        (called,) = whole.choices[0].message.tool_calls
        assert json.loads(called.function.arguments) == {"city": "Paris"}
        chunks = list(litellm.completion(messages=ASKED, tools=[WEATHER], stream=True, **common))
        rebuilt: Any = litellm.stream_chunk_builder(chunks, messages=ASKED)
        assert rebuilt.choices[0].message.tool_calls[0].function.name == "weather"
        asked: Any = {"stream": True, "stream_options": {"include_usage": True}}
        told = [
            chunk.usage for chunk in litellm.completion(messages=ASKED, **asked, **common) if hasattr(chunk, "usage")
        ]
        plain: Any = litellm.completion(messages=ASKED, **common)
        assert told[-1].completion_tokens == plain.usage.completion_tokens
        try:
            litellm.completion(messages=[{"role": "user", "content": "word " * 33_000}], **common)
        except litellm.ContextWindowExceededError:
            pass
        else:
            raise AssertionError("no context overflow")


main(sys.argv[1])
