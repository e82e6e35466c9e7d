"""any-llm: an answer whole and streamed, a typed answer, a function's call, and a response."""

import json
import sys
from typing import Any

from any_llm import completion, responses
from pydantic import BaseModel


class City(BaseModel):
    name: str
    people: int


def weather(city: str, days: int) -> str:
    """The weather of a city."""
    return f"{city} {days}: sunny"


def main(url: str) -> None:
    common: Any = {"model": "scripted", "provider": "openai", "api_base": url, "api_key": "none"}
    asked: Any = {**common, "messages": [{"role": "user", "content": "The weather?"}], "max_tokens": 400}
    whole: Any = completion(**asked)
    assert whole.choices[0].message.content == "It is sunny in Paris."
    streamed: Any = completion(**asked, stream=True)
    assert "".join(one.choices[0].delta.content or "" for one in streamed if one.choices) == "It is sunny in Paris."
    typed: Any = completion(**asked, response_format=City)
    assert City.model_validate_json(typed.choices[0].message.content) == City(name="Paris", people=36)
    (called,) = completion(**asked, tools=[weather]).choices[0].message.tool_calls  # type: ignore[union-attr]
    assert json.loads(called.function.arguments) == {"city": "Paris", "days": 36}
    kept: Any = responses(**common, input_data="The weather?")
    assert kept.output_text == "It is sunny in Paris."


main(sys.argv[1])
