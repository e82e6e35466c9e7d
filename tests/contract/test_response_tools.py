"""Functions called by /v1/responses, by the `openai` package: whole, streamed, resumed, and gone on with."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.contract.scripted import Scripted, scripted_gateway
from tests.contract.weather import ARGUMENTS, WEATHER
from tests.scripted import SENTENCE, call

TOOLS: Any = [{"type": "function", **WEATHER, "strict": True}, {"type": "function", "name": "now", "parameters": None}]
QUESTION: Any = [{"role": "user", "content": "How is the weather?"}]
BOTH = f"Let me see.\n{call('now', {})}\n{call('get_weather', ARGUMENTS)}"


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    with scripted_gateway(tmp_path_factory.mktemp("scripted")) as scripted:
        yield scripted


@pytest.fixture
def client(scripted: Scripted) -> Iterator[OpenAI]:
    scripted.runtime.seen.clear()
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        yield client


def ask(client: OpenAI, given: Any = QUESTION, **fields: Any) -> Any:
    return client.responses.create(model="scripted", input=given, **{"tools": TOOLS, **fields})


def returned(called: Any, output: Any = "sunny") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": called.call_id, "output": output}


def test_a_response_calls_functions_and_goes_on_with_their_results(client: OpenAI, scripted: Scripted) -> None:
    first = ask(client)
    (called,) = first.output
    assert (called.type, called.name, called.status) == ("function_call", "get_weather", "completed")
    assert (json.loads(called.arguments), first.output_text, first.status) == (ARGUMENTS, "", "completed")
    assert [(tool.name, tool.strict) for tool in first.tools] == [("get_weather", True), ("now", False)]
    assert (first.tool_choice, first.parallel_tool_calls) == ("auto", True)
    assert client.responses.retrieve(first.id) == first

    by_id = ask(client, [returned(called)], previous_response_id=first.id)
    turns = scripted.runtime.seen[-1][0].turns
    by_hand = ask(client, [*QUESTION, called, returned(called, [{"type": "input_text", "text": "sunny"}])])
    assert scripted.runtime.seen[-1][0].turns == turns
    assert (by_id.output_text, by_hand.output_text) == (SENTENCE, SENTENCE)
    assert [turn.role for turn in turns] == ["user", "assistant", "tool"]
    assert [(one.name, json.loads(one.arguments)) for one in turns[1].tool_calls] == [("get_weather", ARGUMENTS)]
    assert turns[2].text == "sunny"

    third = ask(client, "Thanks", previous_response_id=by_id.id)
    assert third.previous_response_id == by_id.id
    assert [turn.text for turn in scripted.runtime.seen[-1][0].turns][2:] == ["sunny", SENTENCE, "Thanks"]


def test_a_streamed_call_is_the_packages_events(client: OpenAI) -> None:
    whole = ask(client)
    with client.responses.stream(model="scripted", input=QUESTION, tools=TOOLS) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert kinds[-3:] == [
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert set(kinds[3:-3]) == {"response.function_call_arguments.delta"}
    assert len(kinds) > 9
    added, done = events[2].item, events[-3]
    assert (added.name, added.arguments, added.status) == ("get_weather", "", "in_progress")
    assert {event.item_id for event in events[3:-2]} == {added.id}
    assert json.loads("".join(event.delta for event in events[3:-3])) == json.loads(done.arguments) == ARGUMENTS
    assert (events[-2].item.call_id, events[-2].item.status) == (added.call_id, "completed")
    assert [(one.name, one.arguments) for one in final.output] == [(one.name, one.arguments) for one in whole.output]


def test_text_and_several_calls_are_items_in_their_order(client: OpenAI) -> None:
    given = [{"role": "user", "content": f"Say: {BOTH}"}]
    whole = ask(client, given)
    assert [item.type for item in whole.output] == ["message", "function_call", "function_call"]
    assert [item.status for item in whole.output] == ["completed"] * 3
    assert (whole.output_text, [item.name for item in whole.output[1:]]) == ("Let me see.", ["now", "get_weather"])
    assert len({item.id for item in whole.output} | {item.call_id for item in whole.output[1:]}) == 5

    events = list(ask(client, given, stream=True))
    ended = [event for event in events if event.type == "response.output_item.done"]
    assert [(event.output_index, event.item.type) for event in ended] == list(
        enumerate(["message", "function_call", "function_call"])
    )
    assert [event.item.status for event in ended] == ["completed"] * 3
    added = [event.item for event in events if event.type == "response.output_item.added"]
    assert [item.content if item.type == "message" else item.arguments for item in added] == [[], "", ""]
    for at, event in enumerate(events):  # from any event on, the same
        if event.type == "response.function_call_arguments.delta":
            rest = list(client.responses.retrieve(events[0].response.id, stream=True, starting_after=at))
            assert rest == events[at + 1 :]
            break

    asked = ask(client, [*given, *whole.output, *map(returned, whole.output[1:])])
    assert asked.output_text == SENTENCE


def test_a_conversation_keeps_calls_beside_text_in_one_turn(client: OpenAI, scripted: Scripted) -> None:
    first = ask(client, f"Say: {BOTH}")
    ask(client, [returned(one) for one in first.output[1:]], previous_response_id=first.id)
    turns = scripted.runtime.seen[-1][0].turns
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "tool"]
    assert (turns[1].text, [one.name for one in turns[1].tool_calls]) == ("Let me see.", ["now", "get_weather"])
    ask(client, [*QUESTION, *first.output, *(returned(one) for one in first.output[1:])])
    assert scripted.runtime.seen[-1][0].turns[1:] == turns[1:]


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("auto", "get_weather"),
        ("required", "get_weather"),
        ({"type": "function", "name": "now"}, "now"),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "now"}]}, "now"),
    ],
)
def test_a_choice_of_a_responses_tools_is_followed(client: OpenAI, choice: Any, name: str) -> None:
    answer = ask(client, tool_choice=choice)
    assert [one.name for one in answer.output] == [name]
    said = answer.tool_choice if isinstance(choice, str) else answer.tool_choice.model_dump(exclude_none=True)
    assert said == choice


def test_a_response_offers_no_tools_where_none_may_be_called(client: OpenAI, scripted: Scripted) -> None:
    assert ask(client, tool_choice="none").output_text == SENTENCE
    assert ask(client, tools=[]).output_text == SENTENCE
    assert [conversation.tools for conversation, _ in scripted.runtime.seen] == [(), ()]


def test_one_call_is_all_of_a_response_without_parallel_calls(client: OpenAI, scripted: Scripted) -> None:
    assert ask(client, parallel_tool_calls=False).parallel_tool_calls is False
    grammar = scripted.runtime.seen[-1][1].grammar
    assert grammar is not None
    assert ")*" not in grammar.text.splitlines()[0]


def test_a_call_that_the_length_cuts_off_is_incomplete(client: OpenAI) -> None:
    answer = ask(client, max_output_tokens=20)
    assert (answer.status, answer.output[0].name, answer.output[0].status) == (
        "incomplete",
        "get_weather",
        "incomplete",
    )


def test_a_response_in_the_background_calls_functions(client: OpenAI) -> None:
    queued = ask(client, background=True)
    events = list(client.responses.retrieve(queued.id, stream=True))
    assert events[-1].response.output[0].name == "get_weather"


def test_the_packages_own_parser_reads_calls_and_structured_text(client: OpenAI) -> None:
    class Weather(BaseModel):
        """The weather of a city."""

        city: str
        days: int

    tool: Any = openai.pydantic_function_tool(Weather, name="get_weather")["function"]
    parsed = client.responses.parse(model="scripted", input=QUESTION, tools=[{"type": "function", **tool}])
    assert parsed.output[0].parsed_arguments == ARGUMENTS
    assert client.responses.parse(model="scripted", input="Say", text_format=Weather).output_parsed == Weather(
        **ARGUMENTS
    )


def test_a_responses_tool_that_cannot_be_followed_is_refused_by_name(client: OpenAI) -> None:
    impossible = {"type": "function", "name": "f", "strict": True, "parameters": {"type": "object", "not": {}}}
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, tools=[impossible])
    assert refused.value.param == "tools[0]"
