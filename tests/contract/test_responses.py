"""/v1/responses by the `openai` package: whole, streamed, resumed, in the background, gone on with, cancelled."""

import base64
import json
import time
from typing import Any

import httpx
import openai
import pytest
import redis
from openai import OpenAI
from openai.types.responses import Response

from service.settings import StoreSettings
from tests.contract import made
from tests.contract.conftest import SeeingRuntime, Strict, running, settings_for

IMAGE = {"type": "input_image", "image_url": made.data_url(made.PNG, "image/png"), "detail": "auto"}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def text(said: str) -> dict[str, Any]:
    return {"type": "input_text", "text": said}


def created(client: OpenAI, given: Any = "Hi", **fields: Any) -> Response:
    answer: Response = client.responses.create(model="fake", input=given, **fields)
    return answer


def test_a_response_has_all_that_the_package_reads(client: OpenAI, runtime: SeeingRuntime) -> None:
    answer = created(client, instructions="Be brief.", max_output_tokens=4, temperature=0.5, metadata={"a": "b"})
    assert answer.id.startswith("resp_")
    assert (answer.object, answer.status, answer.model) == ("response", "incomplete", "fake")
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert len(answer.output_text.split()) == 4
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (3, 4, 7)
    assert (answer.instructions, answer.temperature, answer.metadata) == ("Be brief.", 0.5, {"a": "b"})
    conversation, params = runtime.seen[0]
    assert [(turn.role, turn.text) for turn in conversation.turns] == [("system", "Be brief."), ("user", "Hi")]
    assert (params.max_tokens, params.temperature) == (4, 0.5)
    assert created(client).status == "completed"
    assert client.responses.retrieve(answer.id) == answer


def test_input_is_text_or_items_of_every_kind(client: OpenAI, runtime: SeeingRuntime) -> None:
    file = client.files.create(file=("a.png", made.PNG), purpose="vision")
    sound = base64.b64encode(made.sound("wav")).decode()
    created(
        client,
        [
            {"role": "developer", "content": "Rules."},
            user(text("Look."), IMAGE, {"type": "input_image", "file_id": file.id}),
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]},
            {"type": "reasoning", "id": "x", "summary": []},
            user(
                {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}},
                {"type": "input_file", "filename": "a.mp4", "file_data": made.data_url(made.VIDEO, "video/mp4")},
                {"type": "thermal_url", "thermal_url": {"url": made.data_url(made.grey("png", 8))}},
                text("And this?"),
            ),
        ],
    )
    conversation, _ = runtime.seen[0]
    assert [turn.role for turn in conversation.turns] == ["system", "user", "assistant", "user"]
    assert [(use.modality, use.turn) for use in conversation.media] == [
        ("image", 1),
        ("image", 1),
        ("audio", 3),
        ("video", 3),
        ("thermal", 3),
    ]


def test_a_streamed_response_is_the_packages_events_numbered_by_one(client: OpenAI) -> None:
    whole = created(client, [user(IMAGE, text("Hi"))], max_output_tokens=5, extra_body={"seed": 3})
    events = list(created(client, [user(IMAGE, text("Hi"))], max_output_tokens=5, extra_body={"seed": 3}, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:4]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert [event.type for event in events[-4:]] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == events[-1].response.output_text == whole.output_text
    assert events[-1].response.usage == whole.usage
    assert len({event.item_id for event in events if hasattr(event, "item_id")}) == 1


def test_a_stream_goes_on_after_any_sequence_number(client: OpenAI, url: str, store: Any) -> None:
    events = list(created(client, max_output_tokens=5, stream=True))
    name = events[0].response.id
    with running(settings_for(store)) as (other, _), OpenAI(base_url=f"{other}/v1", api_key="none") as elsewhere:
        assert list(client.responses.retrieve(name, stream=True)) == events
        for after in (0, 4, len(events) - 2):
            rest = list(elsewhere.responses.retrieve(name, stream=True, starting_after=after))
            assert rest == events[after + 1 :]


def test_a_background_response_runs_on_without_a_reader(client: OpenAI, runtime: SeeingRuntime) -> None:
    runtime.step_delay = 0.05
    queued = created(client, background=True)
    assert (queued.status, queued.output, queued.background) == ("queued", [], True)
    stream = created(client, background=True, stream=True)
    name = next(iter(stream)).response.id
    stream.close()  # its reader goes away
    runtime.step_delay = 0.0
    until = time.monotonic() + 60
    for waited in (queued.id, name):
        while (found := client.responses.retrieve(waited)).status in ("queued", "in_progress"):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert found.status == "completed"
        assert found.output_text


def test_a_background_response_is_charged_to_the_key_s_tokens(
    strict: Strict, store: StoreSettings, runtime: SeeingRuntime
) -> None:
    """600 tokens a minute: to its end, though nobody reads it, and though its reader left."""
    with (
        OpenAI(base_url=f"{strict.url}/v1", api_key=strict.key(), max_retries=0, timeout=30) as ann,
        redis.Redis.from_url(store.required_url()) as raw,
    ):
        others, began = set(raw.scan_iter("*:rate:*")), time.monotonic()
        runtime.step_delay = 0.01
        whole = {"background": True, "max_output_tokens": 200, "extra_body": {"ignore_eos": True}}
        queued = created(ann, **whole)
        stream = created(ann, stream=True, **whole)
        name = next(iter(stream)).response.id
        stream.close()
        runtime.step_delay = 0.0
        (key,) = set(raw.scan_iter("*:rate:*")) - others
        used = 0
        for waited in (queued.id, name):
            while (found := ann.responses.retrieve(waited)).status in ("queued", "in_progress"):
                assert time.monotonic() - began < 60
                time.sleep(0.05)
            assert found.usage is not None
            used += found.usage.total_tokens
        assert used >= 400
        while float(raw.hget(key, "tokens") or 0) > 600 - used + 10 * (time.monotonic() - began) + 1:
            assert time.monotonic() - began < 20, "the tokens were not charged"
            time.sleep(0.05)


def test_a_response_goes_on_with_an_earlier_one_and_its_media(client: OpenAI, runtime: SeeingRuntime) -> None:
    first = created(client, [user(IMAGE, text("What?"))], instructions="One.")
    second = created(client, "And?", instructions="Two.", previous_response_id=first.id)
    third = created(client, "So?", previous_response_id=second.id)
    conversation, _ = runtime.seen[-1]
    assert [turn.text for turn in conversation.turns] == [
        "What?",
        first.output_text,
        "And?",
        second.output_text,
        "So?",
    ]
    assert [(use.modality, use.turn) for use in conversation.media] == [("image", 0)]
    assert [turn.text for turn in runtime.seen[-2][0].turns][:2] == ["Two.", "What?"]
    assert third.previous_response_id == second.id
    with pytest.raises(openai.NotFoundError) as missing:
        created(client, "x", previous_response_id="resp_" + "0" * 32)
    assert missing.value.param == "previous_response_id"


def test_structured_text_follows_its_format(client: OpenAI, runtime: SeeingRuntime) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    answer = created(client, text={"format": {"type": "json_schema", "name": "x", "schema": schema, "strict": True}})
    grammar = runtime.seen[0][1].grammar
    assert grammar is not None
    assert json.loads(grammar.text) == schema
    assert answer.text is not None
    assert answer.text.format is not None
    assert answer.text.format.type == "json_schema"


def test_a_response_is_cancelled_and_deleted(client: OpenAI, runtime: SeeingRuntime) -> None:
    runtime.step_delay = 0.2
    running_one = created(client, background=True)
    assert client.responses.cancel(running_one.id).status == "cancelled"
    runtime.step_delay = 0.0
    ended = created(client)
    assert client.responses.cancel(ended.id).status == "completed"
    client.responses.delete(ended.id)
    for call in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            call(ended.id)


def test_a_response_that_is_not_stored_or_anothers_is_not_found(client: OpenAI, strict: Strict) -> None:
    unstored = created(client, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(unstored.id)
    with (
        OpenAI(base_url=f"{strict.url}/v1", api_key=strict.key(), max_retries=0) as ann,
        OpenAI(base_url=f"{strict.url}/v1", api_key=strict.key(), max_retries=0) as bob,
    ):
        name = created(ann).id
        assert ann.responses.retrieve(name).id == name
        with pytest.raises(openai.NotFoundError):
            bob.responses.retrieve(name)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": "x", "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"input": "x", "tool_choice": "required"}, "tool_choice"),
        ({"input": "x", "tools": [{"type": "function", "name": "f"}], "tool_choice": {"name": "g"}}, "tool_choice"),
        ({"input": [{"type": "function_call", "call_id": "a"}]}, "input[0].name"),
        ({"input": ["x", {"type": "function_call_output", "call_id": 5, "output": "x"}]}, "input[1].call_id"),
        ({"input": [{"type": "web_search_call"}]}, "input"),
        ({"input": "x", "truncation": "auto"}, "truncation"),
        ({"input": "x", "n": 2}, "n"),
        ({"input": "x", "background": True, "store": False}, "store"),
        ({"input": []}, "input"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "filename": "a.pdf"}]}]},
            "input[0].content[0]",
        ),
        ({"input": [{"role": "user", "content": [{**IMAGE, "image_url": "x"}]}]}, "input[0].content[0].image_url.url"),
        ({"input": "x", "previous_response_id": "nonsense"}, "previous_response_id"),
    ],
)
def test_what_a_response_does_not_offer_is_refused_by_name(
    http: httpx.Client, body: dict[str, Any], param: str
) -> None:
    answer = http.post("/v1/responses", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
