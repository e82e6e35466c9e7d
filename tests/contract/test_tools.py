"""Tools by the `openai` package, whole and streamed, in every form in which clients send them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.contract.scripted import Scripted, scripted_gateway
from tests.contract.weather import ARGUMENTS, TOOLS, WEATHER
from tests.scripted import SENTENCE, ScriptedRuntime, call

ASKED: Any = [{"role": "user", "content": "How is the weather?"}]


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    with scripted_gateway(tmp_path_factory.mktemp("scripted")) as scripted:
        yield scripted


@pytest.fixture
def client(scripted: Scripted) -> Iterator[OpenAI]:
    scripted.runtime.seen.clear()
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        yield client


def ask(client: OpenAI, messages: Any = ASKED, **fields: Any) -> Any:
    return client.chat.completions.create(model="scripted", messages=messages, max_tokens=400, **fields)


def saying(text: str) -> Any:
    return [{"role": "user", "content": f"Say: {text}"}]


def streamed(client: OpenAI, messages: Any = ASKED, **fields: Any) -> tuple[Any, list[Any]]:
    """The answer as the package puts it together, and its chunks."""
    with client.chat.completions.stream(model="scripted", messages=messages, max_tokens=400, **fields) as stream:
        chunks = [event.chunk for event in stream if event.type == "chunk"]
        return stream.get_final_completion(), chunks


def test_a_call_has_an_id_a_name_and_arguments(client: OpenAI) -> None:
    (choice,) = ask(client, tools=TOOLS).choices
    (called,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content, called.type) == ("tool_calls", None, "function")
    assert called.id.startswith("call_")
    assert (called.function.name, json.loads(called.function.arguments)) == ("get_weather", ARGUMENTS)


def test_a_stream_has_the_calls_name_first_and_its_arguments_in_pieces(client: OpenAI) -> None:
    whole, chunks = streamed(client, tools=TOOLS)
    deltas = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert (deltas[0].function.name, deltas[0].function.arguments, deltas[0].type) == ("get_weather", "", "function")
    assert deltas[0].id.startswith("call_")
    assert len(deltas) > 3
    assert all((one.index, one.id, one.function.name) == (0, None, None) for one in deltas[1:])
    assert json.loads("".join(one.function.arguments for one in deltas)) == ARGUMENTS
    assert whole.choices[0].finish_reason == "tool_calls"


def test_several_calls_have_indices_and_ids_of_their_own(client: OpenAI) -> None:
    text = f"Let me see.\n{call('now', {})}\n{call('get_weather', ARGUMENTS)}"
    (choice,) = ask(client, saying(text), tools=TOOLS).choices
    assert (choice.message.content, choice.finish_reason) == ("Let me see.", "tool_calls")
    assert [one.function.name for one in choice.message.tool_calls] == ["now", "get_weather"]
    assert len({one.id for one in choice.message.tool_calls}) == 2
    whole, _ = streamed(client, saying(text), tools=TOOLS)
    assert whole.choices[0].message.content == "Let me see."
    assert [one.function.name for one in whole.choices[0].message.tool_calls] == ["now", "get_weather"]


def test_a_result_goes_back_to_the_model_with_the_call(client: OpenAI, scripted: Scripted) -> None:
    asked = ask(client, tools=TOOLS).choices[0].message
    called = asked.tool_calls[0]
    result = {"role": "tool", "tool_call_id": called.id, "content": "sunny"}
    (choice,) = ask(client, [*ASKED, asked, result], tools=TOOLS).choices
    assert (choice.message.content, choice.finish_reason) == (SENTENCE, "stop")
    turns = scripted.runtime.seen[-1][0].turns
    assert [turn.role for turn in turns] == ["user", "assistant", "tool"]
    assert (turns[1].tool_calls[0].name, turns[2].text) == ("get_weather", "sunny")


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("auto", "get_weather"),
        ("required", "get_weather"),
        ("any", "get_weather"),
        ({"type": "function", "function": {"name": "now"}}, "now"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "now"}}],
                },
            },
            "now",
        ),
    ],
)
def test_a_choice_of_tools_is_followed(client: OpenAI, choice: Any, name: str) -> None:
    (called,) = ask(client, tools=TOOLS, tool_choice=choice).choices[0].message.tool_calls
    assert called.function.name == name


@pytest.mark.parametrize("fields", [{"tools": TOOLS, "tool_choice": "none"}, {"tools": []}, {"tool_choice": "none"}])
def test_no_tools_are_offered_where_none_may_be_called(client: OpenAI, scripted: Scripted, fields: Any) -> None:
    choice = ask(client, **fields).choices[0]
    assert (choice.message.content, choice.message.tool_calls) == (SENTENCE, None)
    conversation, params = scripted.runtime.seen[-1]
    assert (conversation.tools, params.grammar) == ((), None)


def test_one_call_is_all_that_fits_without_parallel_calls(client: OpenAI, scripted: Scripted) -> None:
    ask(client, tools=TOOLS, parallel_tool_calls=False)
    grammar = scripted.runtime.seen[-1][1].grammar
    assert grammar is not None
    assert ")*" not in grammar.text.splitlines()[0]


def test_the_older_functions_are_answered_in_their_own_words(client: OpenAI) -> None:
    choice = ask(client, functions=[WEATHER]).choices[0]
    assert (choice.finish_reason, choice.message.tool_calls) == ("function_call", None)
    assert (choice.message.function_call.name, json.loads(choice.message.function_call.arguments)) == (
        "get_weather",
        ARGUMENTS,
    )
    stream = ask(client, functions=[WEATHER], function_call={"name": "get_weather"}, stream=True)
    deltas = [chunk.choices[0].delta.function_call for chunk in stream if chunk.choices]
    told = [delta for delta in deltas if delta is not None]
    assert (told[0].name, json.loads("".join(delta.arguments or "" for delta in told))) == ("get_weather", ARGUMENTS)
    called = {"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": "{}"}}
    result = {"role": "function", "name": "get_weather", "content": "sunny"}
    assert ask(client, [*ASKED, called, result], functions=[WEATHER]).choices[0].message.content == SENTENCE


def test_an_answer_may_call_or_follow_a_schema(client: OpenAI) -> None:
    schema = {"type": "object", "properties": {"sky": {"type": "string"}}, "required": ["sky"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "sky", "schema": schema}}
    assert ask(client, tools=TOOLS, response_format=wanted).choices[0].message.tool_calls
    text = ask(client, saying('{"sky": "blue"}'), tools=TOOLS, response_format=wanted).choices[0].message.content
    assert json.loads(text) == {"sky": "blue"}


def test_a_call_cut_off_by_the_length_ends_as_length(client: OpenAI) -> None:
    choice = client.chat.completions.create(model="scripted", messages=ASKED, tools=TOOLS, max_tokens=20).choices[0]
    assert choice.finish_reason == "length"
    assert choice.message.tool_calls[0].function.name == "get_weather"


def test_every_choice_has_calls_of_its_own(client: OpenAI) -> None:
    choices = ask(client, tools=TOOLS, n=2).choices
    assert len({choice.message.tool_calls[0].id for choice in choices}) == 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"functions": [WEATHER], "function_call": {"name": "f"}}, "function_call"),
        ({"tools": TOOLS, "extra_body": {"guided_regex": "a+"}}, "tools"),
        (
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "strict": True, "parameters": {"type": "object", "not": {}}},
                    }
                ]
            },
            "tools[0].function",
        ),
    ],
)
def test_tools_that_cannot_be_offered_are_refused_by_name(client: OpenAI, fields: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, **fields)
    assert refused.value.param == param


def test_a_model_that_cannot_choose_answers_without_the_tools(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    info = replace(ScriptedRuntime().info, tools="forced")
    with scripted_gateway(tmp_path_factory.mktemp("forced"), ScriptedRuntime(info=info)) as forced:
        body = {"messages": ASKED, "tools": TOOLS}
        answer = httpx.post(f"{forced.url}/v1/chat/completions", json=body)
        assert answer.json()["choices"][0]["message"]["content"] == SENTENCE
        assert "left out" in answer.headers["x-warnings"]
        assert "left out" in answer.json()["warnings"][0]
        assert forced.runtime.seen[-1][0].tools == ()
        answer = httpx.post(f"{forced.url}/v1/chat/completions", json={**body, "tool_choice": "required"})
        assert answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


def test_an_operator_may_have_tools_refused_instead(tmp_path_factory: pytest.TempPathFactory) -> None:
    info = replace(ScriptedRuntime().info, tools="forced")
    with scripted_gateway(tmp_path_factory.mktemp("refuse"), ScriptedRuntime(info=info), tools="refuse") as forced:
        answer = httpx.post(f"{forced.url}/v1/chat/completions", json={"messages": ASKED, "tools": TOOLS})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")
