"""Haystack: a generator with a tool, and an agent that calls it and answers."""

import sys
from typing import Annotated, Any

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import tool
from haystack.utils import Secret


@tool
def weather(city: Annotated[str, "a city"], days: Annotated[int, "days from now"]) -> str:
    """The weather of a city."""
    return f"{city} {days}: sunny"


def main(url: str) -> None:
    generator: Any = OpenAIChatGenerator(
        api_key=Secret.from_token("none"),
        model="scripted",
        api_base_url=url,
        generation_kwargs={"max_tokens": 400},
        max_retries=0,
    )
    (reply,) = generator.run([ChatMessage.from_user("The weather?")], tools=[weather])["replies"]
    assert reply.tool_calls[0].arguments == {"city": "Paris", "days": 36}
    agent: Any = Agent(chat_generator=generator, tools=[weather])
    agent.warm_up()
    messages = agent.run(messages=[ChatMessage.from_user("The weather?")])["messages"]
    assert messages[-1].text == "It is sunny in Paris."


main(sys.argv[1])
