"""The real `openai` client, sync, async and streaming, against a running gateway."""

import base64
from collections.abc import Iterator

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from pandagpt_core.media import samples

MESSAGES = [{"role": "user", "content": "Tell me"}]


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_whole_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="fake", messages=MESSAGES, max_tokens=5, seed=1)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


def test_a_streamed_answer_is_the_same(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="fake", messages=MESSAGES, max_tokens=5, seed=1)
    stream = client.chat.completions.create(
        model="fake", messages=MESSAGES, max_tokens=5, seed=1, stream=True, stream_options={"include_usage": True}
    )
    text, usage = "", None
    for chunk in stream:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    assert text == whole.choices[0].message.content
    assert usage is not None
    assert usage.completion_tokens == 5


async def test_the_async_client_streams_a_picture(url: str) -> None:
    picture = base64.b64encode(samples.picture("PNG")).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        messages = [{"role": "user", "content": [part, {"type": "text", "text": "What?"}]}]
        stream = await client.chat.completions.create(model="fake", messages=messages, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text.startswith("<image:")


def test_models_and_embeddings(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["fake"]
    assert client.models.retrieve("fake").id == "fake"
    rows = client.embeddings.create(model="fake", input=["a", "b"]).data  # asks for base64 by itself
    assert [len(row.embedding) for row in rows] == [8, 8]


def test_errors_arrive_as_the_clients_own(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="fake", messages=MESSAGES, temperature=999)
    assert (bad.value.code, bad.value.param) == ("invalid_request", "temperature")
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=MESSAGES)
    broken = [{"role": "user", "content": "FAULT-SEQUENCE"}]
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="fake", messages=broken, stream=True))
