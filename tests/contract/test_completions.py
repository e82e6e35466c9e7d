"""POST /v1/completions, /tokenize and /detokenize: by the `openai` package, and in vLLM's shapes."""

import json

import httpx
import openai
import pytest
from openai import OpenAI

from tests.contract.conftest import SeeingRuntime
from tests.fakes import BEGIN, VOCABULARY

PROMPT = "Pandas eat"


def test_a_completion_continues_text_as_it_stands(client: OpenAI, runtime: SeeingRuntime) -> None:
    answer = client.completions.create(model="fake", prompt=PROMPT, seed=1)
    assert (answer.object, answer.choices[0].finish_reason) == ("text_completion", "length")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 1 + len(PROMPT)
    assert answer.usage.completion_tokens == 16  # OpenAI's own default
    assert answer.id.startswith("cmpl-")
    assert runtime.prompts == [PROMPT]


def test_prompts_are_lists_of_texts_or_of_token_ids(client: OpenAI, runtime: SeeingRuntime) -> None:
    texts = ["one", "two"]
    listed = client.completions.create(model="fake", prompt=texts, n=2, max_tokens=3, seed=1)
    assert [choice.index for choice in listed.choices] == [0, 1, 2, 3]
    alone = [client.completions.create(model="fake", prompt=text, n=2, max_tokens=3, seed=1) for text in texts]
    assert [choice.text for choice in listed.choices] == [one.text for answer in alone for one in answer.choices]
    assert listed.usage is not None
    assert listed.usage.prompt_tokens == sum(answer.usage.prompt_tokens for answer in alone if answer.usage)
    ids = [[BEGIN, *text.encode()] for text in texts]
    as_ids = client.completions.create(model="fake", prompt=ids, n=2, max_tokens=3, seed=1)
    assert [choice.text for choice in as_ids.choices] == [choice.text for choice in listed.choices]
    one = client.completions.create(model="fake", prompt=ids[0], n=2, max_tokens=3, seed=1)
    assert [choice.text for choice in one.choices] == [choice.text for choice in alone[0].choices]


def test_echo_gives_the_prompt_back_with_its_log_probabilities(client: OpenAI) -> None:
    plain = client.completions.create(model="fake", prompt=PROMPT, max_tokens=2, seed=1)
    for prompt in (PROMPT, [BEGIN, *PROMPT.encode()]):
        answer = client.completions.create(model="fake", prompt=prompt, echo=True, logprobs=2, max_tokens=2, seed=1)
        choice = answer.choices[0]
        assert choice.text == PROMPT + plain.choices[0].text
        scores = choice.logprobs
        assert scores is not None
        assert (scores.tokens or [])[: 1 + len(PROMPT)] == ["", *PROMPT]
        assert "".join(scores.tokens or []) == choice.text
        assert scores.token_logprobs is not None
        assert scores.token_logprobs[0] is None
        assert all(isinstance(value, float) for value in scores.token_logprobs[1:])
        assert [len(one or {}) for one in scores.top_logprobs or []] == [0, *[2] * (len(PROMPT) + 2)]
        assert (scores.text_offset or [])[:3] == [0, 0, 1]


def test_a_streamed_completion_joins_to_the_whole_one(client: OpenAI) -> None:
    asked = {"model": "fake", "prompt": ["one", "two"], "echo": True, "logprobs": 1, "max_tokens": 4, "seed": 3}
    whole = client.completions.create(**asked)
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    for index, choice in enumerate(whole.choices):
        own = [one for chunk in chunks for one in chunk.choices if one.index == index]
        assert "".join(one.text for one in own) == choice.text
        assert [one.finish_reason for one in own if one.finish_reason] == ["length"]
        offsets = [at for one in own if one.logprobs for at in one.logprobs.text_offset or []]
        assert choice.logprobs is not None
        assert offsets == choice.logprobs.text_offset
    assert chunks[-1].usage == whole.usage
    assert chunks[-1].choices == []


def test_a_completions_events_come_again_as_a_completion(http: httpx.Client) -> None:
    asked = {"prompt": PROMPT, "stream": True, "max_tokens": 3, "stream_options": {"include_event_ids": True}}
    with http.stream("POST", "/v1/completions", json=asked) as answer:
        lines = answer.read().decode()
    request_id = json.loads(lines.split("data: ", 1)[1].split("\n")[0])["id"]
    again = http.get(f"/v1/requests/{request_id}/events").text
    assert [line for line in again.split("\n") if not line.startswith(":")] == [
        line for line in lines.split("\n") if not line.startswith(":")
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [("suffix", " end"), ("best_of", 2), ("prompt", []), ("prompt", [[]]), ("prompt", ["x"] * 65), ("task", "vqa")],
)
def test_what_a_completion_does_not_take_is_refused_by_name(http: httpx.Client, field: str, value: object) -> None:
    answer = http.post("/v1/completions", json={"prompt": PROMPT, field: value})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert answer.json()["error"]["param"].startswith(field)


def test_a_token_id_beyond_the_vocabulary_is_refused_and_more_answers_than_64(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=str(VOCABULARY)):
        client.completions.create(model="fake", prompt=[VOCABULARY])
    with pytest.raises(openai.BadRequestError, match="the limit is 64"):
        client.completions.create(model="fake", prompt=["x"] * 10, n=8)


def test_tokenize_gives_the_ids_of_a_prompt_and_of_messages(http: httpx.Client) -> None:
    answer = http.post("/tokenize", json={"model": "fake", "prompt": "Hi", "return_token_strs": True}).json()
    assert answer == {"count": 3, "max_model_len": 2048, "tokens": [BEGIN, 72, 105], "token_strs": ["", "H", "i"]}
    bare = http.post("/tokenize", json={"prompt": "Hi", "add_special_tokens": False}).json()
    assert (bare["tokens"], bare["token_strs"]) == ([72, 105], None)
    chat = http.post("/tokenize", json={"messages": [{"role": "user", "content": "Hi"}]}).json()
    assert bytes(chat["tokens"][1:]) == b"user:Hi"


def test_detokenize_gives_the_text_back(http: httpx.Client) -> None:
    assert http.post("/detokenize", json={"tokens": [BEGIN, 72, 105]}).json() == {"prompt": "Hi"}
    refused = http.post("/detokenize", json={"tokens": [VOCABULARY]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("body", [{}, {"prompt": "x", "messages": [{"role": "user", "content": "x"}]}])
def test_tokenize_takes_a_prompt_or_messages(http: httpx.Client, body: dict[str, object]) -> None:
    answer = http.post("/tokenize", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
