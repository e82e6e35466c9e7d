"""Options of a model from HTTP to the model, and the fields that it reads out of its answers."""

import json
from typing import Any

import httpx
import pytest

from pandagpt_core.types import Conversation, SamplingParams, Turn
from tests.fakes import expected_text

PROMPT = "Hello there"


def chat(http: httpx.Client, **fields: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": PROMPT}], "seed": 7, "max_tokens": 5, **fields}
    return http.post("/v1/chat/completions", json=body)


def form(http: httpx.Client, options: str) -> httpx.Response:
    fields = {"prompt": PROMPT, "seed": "7", "max_tokens": "5", "options": options}
    return http.post("/v1/generate", files={name: (None, value) for name, value in fields.items()})


def expected(**options: Any) -> str:
    conversation = Conversation((Turn("user", PROMPT),), options=options)
    return expected_text(conversation, SamplingParams(max_tokens=5, seed=7))


def test_options_reach_the_model_through_both_doors(http: httpx.Client) -> None:
    assert expected(strength=0.5) != expected()
    for answer in (chat(http, options={"strength": 0.5}), form(http, '{"strength": 0.5}')):
        assert answer.json()["choices"][0]["message"]["content"] == expected(strength=0.5)


def test_the_fields_of_an_answer_come_with_its_choice(http: httpx.Client) -> None:
    whole = chat(http, options={"shout": True}, n=2).json()
    assert [choice["fields"] for choice in whole["choices"]] == [{"words": 6}] * 2
    assert "fields" not in chat(http).json()["choices"][0]


def test_a_stream_has_the_fields_after_the_last_token(http: httpx.Client) -> None:
    streamed = chat(http, options={"shout": True}, stream=True)
    chunks = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert chunks[-1]["choices"][0]["fields"] == {"words": 6}
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("options", "param", "reason"),
    [
        ({"strength": 2}, "options.strength", "strength is 2; the limit is 1"),
        ({"strength": "much"}, "options.strength", "a finite number"),
        ({"volume": 1}, "options", "its options are: shout, strength"),
    ],
)
def test_an_option_that_the_model_does_not_have_is_refused(
    http: httpx.Client, options: dict[str, Any], param: str, reason: str
) -> None:
    for answer in (chat(http, options=options), form(http, json.dumps(options))):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", param)
        assert reason in error["message"]


def test_options_that_are_no_json_are_refused(http: httpx.Client) -> None:
    answer = form(http, "{")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "options")


def test_the_models_options_are_listed(http: httpx.Client) -> None:
    [model] = http.get("/v1/models").json()["data"]
    assert [option["name"] for option in model["options"]] == ["shout", "strength"]
    assert model["options"][1]["maximum"] == 1
