"""LlamaIndex: a structured answer by a function, a call chosen by the model, and a stream of chat."""

import asyncio
import sys
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    people: int


def weather(city: str, days: int) -> str:
    """The weather of a city."""
    return f"{city} {days}"


async def main(url: str) -> None:
    llm: Any = OpenAILike(
        model="scripted",
        api_base=url,
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
        max_tokens=400,
        max_retries=0,
    )
    found = llm.as_structured_llm(City).chat([ChatMessage(role="user", content="Which city?")])
    assert found.raw == City(name="Paris", people=36), found
    tool = FunctionTool.from_defaults(weather)
    answer = await llm.achat_with_tools([tool], user_msg="The weather?")
    (called,) = llm.get_tool_calls_from_response(answer)
    assert (called.tool_name, called.tool_kwargs) == ("weather", {"city": "Paris", "days": 36})
    pieces = [piece.delta for piece in llm.stream_chat([ChatMessage(role="user", content="Hello")])]
    assert "".join(piece or "" for piece in pieces) == "It is sunny in Paris."


asyncio.run(main(sys.argv[1]))
