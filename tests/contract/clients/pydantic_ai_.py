"""pydantic-ai: an agent with a tool, and typed output by a tool and by a JSON schema, whole and streamed."""

import asyncio
import sys

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    name: str
    people: int


PARIS = City(name="Paris", people=36)


async def main(url: str) -> None:
    model = OpenAIChatModel("scripted", provider=OpenAIProvider(base_url=url, api_key="none"))
    for output in (ToolOutput(City), NativeOutput(City)):
        agent = Agent(model, output_type=output, retries=0)
        assert (await agent.run("Which city?")).output == PARIS
    talker = Agent(model)

    @talker.tool_plain
    def weather(city: str, days: int) -> str:
        assert (city, days) == ("Paris", 36)
        return "sunny"

    assert (await talker.run("The weather?")).output == "It is sunny in Paris."
    async with talker.run_stream("The weather?") as stream:
        assert await stream.get_output() == "It is sunny in Paris."


asyncio.run(main(sys.argv[1]))
