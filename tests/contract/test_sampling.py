"""Every sampling parameter of the interface page: the model gets the values that the `openai` package sends."""

from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from pandagpt_core.types import SamplingParams
from service.gateway.schema.unsupported import UNSUPPORTED
from service.settings import StoreSettings
from tests.contract.conftest import SeeingRuntime, running, settings_for

MESSAGES: Any = [{"role": "user", "content": "Tell me"}]
# Not OpenAI's: they travel in extra_body.
OWN = ("top_k", "min_p", "repetition_penalty", "no_repeat_ngram_size", "priority")


def ask(client: OpenAI, **fields: Any) -> Any:
    extra = {name: fields.pop(name) for name in OWN if name in fields}
    given = {"max_tokens": 6, "seed": 3, **fields}
    return client.chat.completions.create(model="fake", messages=MESSAGES, extra_body=extra, **given)


def form(**fields: str) -> Any:
    return {name: (None, value) for name, value in fields.items()}


def text(answer: Any, choice: int = 0) -> str:
    return answer.choices[choice].message.content


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.5),
        ("top_p", 0.9),
        ("top_k", 40),
        ("min_p", 0.05),
        ("repetition_penalty", 1.1),
        ("frequency_penalty", 0.4),
        ("presence_penalty", -0.4),
        ("no_repeat_ngram_size", 5),
    ],
)
def test_a_number_that_steers_sampling_reaches_the_model(
    client: OpenAI, runtime: SeeingRuntime, name: str, value: float
) -> None:
    ask(client, **{name: value})
    (_, params) = runtime.seen[0]
    assert getattr(params, name) == value
    assert getattr(SamplingParams(), name) != value, "the default would pass too"


def test_max_tokens_bounds_the_answer(client: OpenAI) -> None:
    answer = ask(client, max_tokens=4)
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (4, "length")


def test_max_completion_tokens_goes_before_max_tokens(client: OpenAI) -> None:
    assert ask(client, max_tokens=9, max_completion_tokens=2).usage.completion_tokens == 2


def test_an_answer_that_ends_by_itself_says_stop(client: OpenAI) -> None:
    assert ask(client, max_tokens=100).choices[0].finish_reason == "stop"


def test_the_same_seed_gives_the_same_tokens(client: OpenAI) -> None:
    assert text(ask(client, seed=5)) == text(ask(client, seed=5)) != text(ask(client, seed=6))


@pytest.mark.parametrize("many", [False, True])
def test_stop_is_a_string_or_up_to_four_and_is_cut_off(client: OpenAI, many: bool) -> None:
    word = f" {text(ask(client)).split()[2]}"
    stopped = ask(client, stop=["none such", word] if many else word)
    assert (text(stopped), stopped.choices[0].finish_reason) == (text(ask(client)).partition(word)[0], "stop")
    with pytest.raises(openai.BadRequestError, match="stop"):
        ask(client, stop=["a", "b", "c", "d", "e"])


def test_n_gives_so_many_choices_and_nine_are_too_many(client: OpenAI) -> None:
    answer = ask(client, n=8)
    assert [choice.index for choice in answer.choices] == list(range(8))
    assert len({text(answer, choice) for choice in range(8)}) == 8
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, n=9)
    assert refused.value.param == "n"


def test_logprobs_come_with_bytes_and_the_alternatives_asked_for(client: OpenAI) -> None:
    plain = ask(client)
    assert plain.choices[0].logprobs is None
    content = ask(client, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert "".join(one.token for one in content) == text(plain)
    assert all(
        len(one.top_logprobs) == 3 and one.logprob < 0 and bytes(one.bytes).decode() == one.token for one in content
    )
    assert all(one.top_logprobs == [] for one in ask(client, logprobs=True).choices[0].logprobs.content)
    with pytest.raises(openai.BadRequestError, match="top_logprobs"):
        ask(client, top_logprobs=2)


def test_stream_gives_the_same_text_in_pieces(client: OpenAI) -> None:
    pieces = [chunk.choices[0].delta.content or "" for chunk in ask(client, stream=True)]
    assert len(pieces) > 3
    assert "".join(pieces) == text(ask(client))


def test_include_usage_adds_one_chunk_with_the_usage_and_no_choices(client: OpenAI) -> None:
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 8)
    assert all(chunk.choices for chunk in ask(client, stream=True))
    with pytest.raises(openai.BadRequestError, match="stream_options"):
        ask(client, stream_options={"include_usage": True})


def test_user_is_taken_and_changes_nothing(client: OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(
        model="fake", messages=MESSAGES, max_tokens=6, seed=3, user="ann"
    )
    assert text(answer.parse()) == text(ask(client))
    assert "x-ignored-params" not in answer.headers


def test_priority_is_interactive_or_batch(client: OpenAI) -> None:
    assert text(ask(client, priority="batch")) == text(ask(client, priority="interactive"))
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, priority="urgent")
    assert refused.value.param == "priority"


REFUSED: dict[str, Any] = {
    "suffix": "end",
    "use_beam_search": True,
    "length_penalty": 2.0,
    "prompt_logprobs": 3,
    "echo": True,
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "web_search_options": {},
    "allowed_token_ids": [1],
    "include_stop_str_in_output": True,
    "skip_special_tokens": False,
    "truncate_prompt_tokens": 8,
    "chat_template": "{{ messages }}",
    "documents": [{"title": "a", "text": "b"}],
    "repeat_penalty": 1.1,
    "typical_p": 0.9,
    "typ_p": 0.9,
    "mirostat": 2,
    "dynatemp_range": 0.5,
    "xtc_probability": 0.5,
    "dry_multiplier": 0.8,
    "grammar": 'root ::= "a"',
    "json_schema": {"type": "object"},
}


@pytest.mark.parametrize("name", list(UNSUPPORTED))
def test_a_parameter_that_changes_the_answer_and_is_not_offered_is_refused(client: OpenAI, name: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="fake", messages=MESSAGES, extra_body={name: REFUSED[name]})
    assert (refused.value.code, refused.value.param) == ("invalid_request", name)


def test_their_values_that_change_nothing_are_taken(http: httpx.Client) -> None:
    harmless = {name: values[0] for name, values in UNSUPPORTED.items() if values}
    body = {"messages": MESSAGES, "max_tokens": 1, **harmless}
    assert http.post("/v1/chat/completions", json=body).status_code == 200


def test_a_forms_values_that_change_nothing_are_taken_as_text(http: httpx.Client) -> None:
    harmless = {"use_beam_search": "false", "length_penalty": "1.0", "mirostat": "0", "skip_special_tokens": "True"}
    answer = http.post("/v1/generate", files=form(prompt="Tell me", max_tokens="1", **harmless))
    assert answer.status_code == 200, answer.text
    assert http.post("/v1/generate", files=form(prompt="Tell me", use_beam_search="true")).status_code == 400


def test_a_lenient_gateway_ignores_them_and_names_them(url: str, store: StoreSettings) -> None:
    changing = {**REFUSED, "best_of": 3}
    of_completions = {name: value for name, value in changing.items() if name != "echo"}
    with running(settings_for(store, lenient=True)) as (there, _), httpx.Client(base_url=there, timeout=60) as client:
        for path, fields in (
            ("/v1/chat/completions", {"messages": MESSAGES, **changing}),
            ("/v1/completions", {"prompt": "Tell me", **of_completions}),
            ("/v1/responses", {"input": "Tell me", "truncation": "auto", **changing}),
        ):
            answer = client.post(path, json=fields)
            assert answer.status_code == 200, answer.text
            named = set(answer.headers["x-ignored-params"].split(", "))
            assert named == set(fields) - {"messages", "prompt", "input"}, path
        answer = client.post("/v1/generate", files=form(prompt="Tell me", mirostat="2", best_of="3"))
        assert set(answer.headers["x-ignored-params"].split(", ")) == {"mirostat", "best_of"}


def test_unknown_parameters_are_ignored_and_named_in_a_header(client: OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(
        model="fake", messages=MESSAGES, max_tokens=1, store=True, metadata={"a": "b"}, extra_body={"colour": "blue"}
    )
    assert {name.strip() for name in answer.headers["x-ignored-params"].split(",")} == {"store", "metadata", "colour"}
