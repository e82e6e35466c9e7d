"""LangChain: structured output by every method, a bound tool, and an agent that calls one and answers."""

import sys
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool
def weather(city: str, days: int) -> str:
    """The weather of a city."""
    return f"{city} in {days} days: sunny"


def main(url: str) -> None:
    model: Any = ChatOpenAI(base_url=url, api_key="none", model="scripted", max_retries=0, max_tokens=400)
    for method in ("function_calling", "json_schema"):
        assert model.with_structured_output(City, method=method).invoke("Which?") == City(name="Paris", people=36), (
            method
        )
    (called,) = model.bind_tools([weather]).invoke("The weather?").tool_calls
    assert (called["name"], called["args"]) == ("weather", {"city": "Paris", "days": 36})
    streamed = None
    for chunk in model.bind_tools([weather], tool_choice="any").stream("The weather?"):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed is not None
    assert streamed.tool_calls[0]["args"] == {"city": "Paris", "days": 36}
    agent: Any = create_agent(model, [weather])
    messages = agent.invoke({"messages": [{"role": "user", "content": "The weather?"}]})["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert messages[2].content == "Paris in 36 days: sunny"
    assert messages[3].content == "It is sunny in Paris."


main(sys.argv[1])
