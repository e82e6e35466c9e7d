"""Ollama's interface by the `ollama` package: chat, generate, tools, formats, pictures, vectors, models, refusals."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import ollama
import pytest

from pandagpt_core.types import Modality
from tests.contract import made
from tests.contract.scripted import Scripted, scripted_gateway
from tests.contract.weather import ARGUMENTS, TOOLS, WEATHER
from tests.fakes import FAKE_INFO
from tests.scripted import SCRIPTED_INFO, SENTENCE, ScriptedRuntime, call

QUESTION: Any = [{"role": "user", "content": "How is the weather?"}]


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    runtime = ScriptedRuntime(info=replace(SCRIPTED_INFO, recipes=FAKE_INFO.recipes))
    with scripted_gateway(tmp_path_factory.mktemp("ollama"), runtime, ollama=True) as made_gateway:
        yield made_gateway


@pytest.fixture
def client(scripted: Scripted) -> Iterator[ollama.Client]:
    scripted.runtime.seen.clear()
    with ollama.Client(host=scripted.url, timeout=60) as client:
        yield client


def ask(client: ollama.Client, messages: Any = QUESTION, **fields: Any) -> Any:
    return client.chat(model="scripted:latest", messages=messages, **fields)


def test_a_chat_is_answered_whole_and_in_lines(client: ollama.Client) -> None:
    whole = ask(client)
    assert (whole.message.role, whole.message.content, whole.done, whole.done_reason) == (
        "assistant",
        SENTENCE,
        True,
        "stop",
    )
    assert (whole.model, whole.prompt_eval_count, whole.eval_count) == ("scripted", 4, 7)
    assert whole.total_duration > 0
    parts = list(ask(client, stream=True))
    assert "".join(part.message.content for part in parts) == SENTENCE
    assert len(parts) == 8
    assert [part.done for part in parts] == [False] * 7 + [True]
    assert (parts[-1].done_reason, parts[-1].eval_count) == ("stop", 7)


async def test_the_asynchronous_client_reads_the_same(scripted: Scripted) -> None:
    async with ollama.AsyncClient(host=scripted.url, timeout=60) as client:
        parts = [part async for part in await client.chat(model="scripted", messages=QUESTION, stream=True)]
    assert "".join(part.message.content or "" for part in parts) == SENTENCE


def test_a_prompt_is_generated_from(client: ollama.Client, scripted: Scripted) -> None:
    whole = client.generate(model="scripted", prompt="Tell", system="Be brief.")
    assert (whole.response, whole.done_reason) == (SENTENCE, "stop")
    turns = scripted.runtime.seen[-1][0].turns
    assert [(turn.role, turn.text) for turn in turns] == [("system", "Be brief."), ("user", "Tell")]
    parts = list(client.generate(model="scripted", prompt="Tell", stream=True))
    assert "".join(part.response for part in parts) == SENTENCE


def test_options_reach_the_model_by_their_own_names(client: ollama.Client, scripted: Scripted) -> None:
    options = {"temperature": 0.5, "top_k": 7, "top_p": 0.5, "min_p": 0.1, "seed": 3, "stop": ["x"], "num_predict": 9}
    more = {"repeat_penalty": 1.5, "presence_penalty": 0.5, "frequency_penalty": 0.25, "num_ctx": 4096}
    ask(client, options={**options, **more}, keep_alive="5m", think=False)
    params = scripted.runtime.seen[-1][1]
    assert (params.temperature, params.top_k, params.top_p, params.min_p, params.seed) == (0.5, 7, 0.5, 0.1, 3)
    assert (params.stop, params.max_tokens, params.repetition_penalty) == (("x",), 9, 1.5)
    assert (params.presence_penalty, params.frequency_penalty) == (0.5, 0.25)
    ask(client, options={"num_predict": -1, "mirostat": 0})
    assert ask(client, options={"num_predict": 2}).done_reason == "length"


def test_a_format_is_followed(client: ollama.Client) -> None:
    assert json.loads(ask(client, format=WEATHER["parameters"]).message.content) == ARGUMENTS
    assert isinstance(json.loads(ask(client, format="json").message.content), dict)


def test_tools_are_called_and_their_results_taken(client: ollama.Client, scripted: Scripted) -> None:
    asked = ask(client, tools=TOOLS[:1]).message
    (called,) = asked.tool_calls
    assert (called.function.name, dict(called.function.arguments), asked.content) == ("get_weather", ARGUMENTS, "")
    result = {"role": "tool", "content": "sunny", "tool_name": "get_weather"}
    assert ask(client, [*QUESTION, asked, result], tools=TOOLS[:1]).message.content == SENTENCE
    turns = scripted.runtime.seen[-1][0].turns
    assert (turns[1].tool_calls[0].name, json.loads(turns[1].tool_calls[0].arguments)) == ("get_weather", ARGUMENTS)
    assert (turns[2].role, turns[2].text) == ("tool", "sunny")


def test_streamed_calls_come_whole_behind_their_text(client: ollama.Client) -> None:
    text = f"Let me see.\n{call('now', {})}\n{call('get_weather', ARGUMENTS)}"
    parts = list(ask(client, [{"role": "user", "content": f"Say: {text}"}], tools=[TOOLS[0], now()], stream=True))
    calls = [(one.function.name, dict(one.function.arguments)) for p in parts for one in p.message.tool_calls or ()]
    assert calls == [("now", {}), ("get_weather", ARGUMENTS)]
    assert "".join(part.message.content or "" for part in parts) == "Let me see."
    assert parts[-1].done


def now() -> Any:
    empty = {"type": "object", "properties": {}}
    return {"type": "function", "function": {"name": "now", "description": "The time", "parameters": empty}}


def test_pictures_are_base64_beside_the_text(client: ollama.Client, scripted: Scripted) -> None:
    ask(client, [{"role": "user", "content": "What?", "images": [made.PNG, base64.b64encode(made.PNG).decode()]}])
    uses = scripted.runtime.seen[-1][0].media
    assert [(use.modality, use.turn) for use in uses] == [(Modality.IMAGE, 0)] * 2
    client.generate(model="scripted", prompt="What?", images=[made.PNG])
    assert len(scripted.runtime.seen[-1][0].media) == 1


def test_texts_are_embedded(client: ollama.Client) -> None:
    one, two = client.embed(model="scripted", input=["a dog", "a cat"]), client.embed(model="scripted", input="a dog")
    assert len(one.embeddings) == 2
    assert list(one.embeddings[0]) == list(two.embeddings[0])
    assert len(client.embed(model="scripted", input="a dog", dimensions=4).embeddings[0]) == 4
    client.embed(model="scripted", input="word " * 200)
    with pytest.raises(ollama.ResponseError):
        client.embed(model="scripted", input="word " * 200, truncate=False)


def test_models_are_listed_and_shown(client: ollama.Client, scripted: Scripted) -> None:
    (model,) = client.list().models
    assert (model.model, len(model.digest or "")) == ("scripted", 64)
    assert [one.model for one in client.ps().models] == ["scripted"]
    shown = client.show("scripted:latest")
    assert shown.capabilities == ["completion", "vision", "tools", "embedding"]
    assert shown.modelinfo is not None
    assert shown.modelinfo["fake.context_length"] == 32_768
    assert httpx.get(f"{scripted.url}/api/version").json()["version"].count(".") == 2
    assert httpx.post(f"{scripted.url}/api/generate", json={"model": "scripted"}).json()["done_reason"] == "load"
    loaded = httpx.post(f"{scripted.url}/api/chat", json={"model": "scripted", "messages": []}).json()
    assert (loaded["done"], loaded["done_reason"]) == (True, "load")


def test_an_error_is_a_text_as_the_package_reads_it(client: ollama.Client, scripted: Scripted) -> None:
    with pytest.raises(ollama.ResponseError) as missing:
        client.chat(model="nobody", messages=QUESTION)
    assert (missing.value.status_code, missing.value.error) == (404, "There is no such model.")
    for fields, words in (
        ({"options": {"temperature": "hot"}}, "temperature"),
        ({"options": {"mirostat": 2}}, "mirostat"),
        ({"think": True}, "thinking"),
        ({"format": {"type": "object", "not": {}}}, "response_format"),
    ):
        with pytest.raises(ollama.ResponseError, match=words) as refused:
            ask(client, **fields)
        assert refused.value.status_code == 400
    for fields in ({"suffix": "x"}, {"template": "x"}, {"context": [1]}, {"raw": True, "system": "x"}):
        with pytest.raises(ollama.ResponseError, match=next(iter(fields))):
            client.generate(model="scripted", prompt="Tell", **fields)
    ignored = httpx.post(
        f"{scripted.url}/api/chat",
        json={"model": "scripted", "messages": QUESTION, "stream": False, "options": {"num_ctx": 9}, "shift": True},
    )
    assert ignored.headers["x-ignored-params"] == "shift, options.num_ctx"


def test_lines_of_a_failed_stream_end_with_its_error(client: ollama.Client, scripted: Scripted) -> None:
    with httpx.stream("POST", f"{scripted.url}/api/chat", json={"model": "scripted", "messages": QUESTION}) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert all(json.loads(line) for line in answer.iter_lines())


def test_it_is_off_unless_it_is_asked_for(http: httpx.Client) -> None:
    for path in ("/api/tags", "/api/version"):
        assert http.get(path).status_code == 404
    assert http.post("/api/chat", json={"model": "fake", "messages": QUESTION}).status_code == 404
