"""Structured output and the parameters of other servers' clients: the model gets the values, or the client a 400."""

from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from pandagpt_core.types import Grammar
from tests.contract.conftest import SeeingRuntime

MESSAGES: Any = [{"role": "user", "content": "Tell me"}]
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
OBJECT = Grammar("json_schema", '{"type":"object"}')
NAMED = Grammar("json_schema", '{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}')
AS_TEXT = '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}'


def ask(client: OpenAI, **fields: Any) -> Any:
    return client.chat.completions.create(model="fake", messages=MESSAGES, max_tokens=4, **fields)


@pytest.mark.parametrize(
    ("fields", "grammar"),
    [
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, OBJECT),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}, NAMED),
        ({"structured_outputs": {"json": SCHEMA}}, NAMED),
        ({"structured_outputs": {"json": AS_TEXT}}, NAMED),
        ({"structured_outputs": {"regex": "[ab]+"}}, Grammar("regex", "[ab]+")),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, Grammar("choice", '["yes", "no"]')),
        ({"structured_outputs": {"grammar": 'start: "a"'}}, Grammar("lark", 'start: "a"')),
        ({"guided_json": SCHEMA}, NAMED),
        ({"guided_json": AS_TEXT}, NAMED),
        ({"guided_regex": "[ab]+"}, Grammar("regex", "[ab]+")),
        ({"guided_choice": ["yes", "no"]}, Grammar("choice", '["yes", "no"]')),
        ({"guided_grammar": 'start: "a"'}, Grammar("lark", 'start: "a"')),
    ],
)
def test_every_form_of_structured_output_reaches_the_model(
    client: OpenAI, runtime: SeeingRuntime, fields: dict[str, Any], grammar: Grammar | None
) -> None:
    ask(client, extra_body=fields)
    assert runtime.seen[0][1].grammar == grammar


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"guided_regex": "(a"}, "guided_regex"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": {"type": "object", "not": {}}}, "guided_json"),
        ({"guided_grammar": "start: other"}, "guided_grammar"),
        ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "guided_regex"),
    ],
)
def test_a_grammar_that_cannot_be_followed_is_a_400_with_its_place(
    client: OpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, extra_body=fields)
    assert refused.value.param is not None
    assert refused.value.param.startswith(param)


def test_a_form_takes_structured_output_as_json(http: httpx.Client, runtime: SeeingRuntime) -> None:
    fields = {"prompt": "Hi", "max_tokens": "4", "guided_choice": '["yes", "no"]', "logit_bias": '{"5": -100}'}
    assert http.post("/v1/generate", files={"x": (None, "")}, data=fields).status_code == 200
    params = runtime.seen[0][1]
    assert (params.grammar, params.logit_bias) == (Grammar("choice", '["yes", "no"]'), ((5, -100.0),))
    refused = http.post("/v1/generate", files={"x": (None, "")}, data={**fields, "guided_choice": "yes"})
    assert refused.json()["error"]["param"] == "guided_choice"


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"seed": 2**63}, {"seed": 2**63}),
        ({"seed": -7}, {"seed": 2**64 - 7}),
        ({"top_k": -1}, {"top_k": 0}),
        ({"top_p": 0}, {"top_p": 0.0}),
        ({"stop": ""}, {"stop": ()}),
        ({"stop": ["", "x"]}, {"stop": ("x",)}),
        ({"min_tokens": 2}, {"min_tokens": 2}),
        ({"ignore_eos": True}, {"ignore_eos": True}),
        ({"stop_token_ids": [1, 2]}, {"stop_token_ids": (1, 2)}),
        ({"logit_bias": {"3": 5, "1": -100}}, {"logit_bias": ((1, -100.0), (3, 5.0))}),
        ({"temperature": 3}, {"temperature": 3.0}),
        ({"priority": 5, "user": 12}, {}),
        ({"seed": -1, "max_tokens": -1, "model": ""}, {}),
        ({"model": "openai/fake"}, {}),
        ({"bad_words": ["no", "never"]}, {"bad_words": ("no", "never")}),
        ({"best_of": 2, "n": 2}, {}),
        ({"best_of": 1, "bad_words": [], "use_beam_search": False}, {}),
        ({"tools": [], "tool_choice": "none"}, {}),
    ],
)
def test_values_that_clients_of_other_servers_send_are_taken(
    http: httpx.Client, runtime: SeeingRuntime, fields: dict[str, Any], found: dict[str, Any]
) -> None:
    answer = http.post("/v1/chat/completions", json={"messages": MESSAGES, "max_tokens": 4, **fields})
    assert answer.status_code == 200, answer.text
    assert {name: getattr(runtime.seen[0][1], name) for name in found} == found


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"best_of": 3}, "best_of"),
        ({"bad_words": [""]}, "bad_words"),
        ({"min_tokens": 9, "max_tokens": 4}, "min_tokens"),
        ({"seed": 2**64}, "seed"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
    ],
)
def test_what_would_change_the_answer_and_is_not_done_is_refused(
    http: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    answer = http.post("/v1/chat/completions", json={"messages": MESSAGES, **fields})
    assert answer.status_code == 400
    assert str(answer.json()["error"]["param"]).startswith(param)
