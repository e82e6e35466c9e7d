"""The `openai` package, unmodified: whole, streamed and raw answers, sync and async, retries, timeouts, errors."""

import asyncio
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from pandagpt_core.modalities import MODALITIES
from tests.contract.conftest import KEEP_ALIVE_S, SeeingRuntime, Strict

MESSAGES: Any = [{"role": "user", "content": "Tell me"}]


def ask(client: OpenAI, **fields: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "fake", "messages": MESSAGES, "max_tokens": 5, "seed": 1, **fields}
    )


def test_a_whole_answer_has_all_that_the_package_reads(client: OpenAI) -> None:
    answer = ask(client)
    assert (answer.object, answer.model, answer.id[:9]) == ("chat.completion", "fake", "chatcmpl-")
    assert abs(answer.created - time.time()) < 60
    assert re.fullmatch("fp_[0-9a-f]{10}", answer.system_fingerprint or "")
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "length", "assistant")
    assert (choice.message.refusal, choice.logprobs) == (None, None)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 5, 7)
    details = answer.usage.prompt_tokens_details.model_dump()
    for name in ("image", "video", "audio", "depth", "thermal", "imu"):
        assert details[f"{name}_items"] == 0
    assert details["cached_items"] == 0


def test_a_model_need_not_be_named_over_rest_and_the_answer_names_it(http: httpx.Client) -> None:
    answer = http.post("/v1/chat/completions", json={"messages": MESSAGES, "max_tokens": 1})
    assert answer.json()["model"] == "fake"


async def test_the_async_client_gives_the_same_answer_and_the_same_stream(
    client: OpenAI, async_client: AsyncOpenAI
) -> None:
    expected = ask(client).choices[0].message.content
    fields: Any = {"model": "fake", "messages": MESSAGES, "max_tokens": 5, "seed": 1}
    whole = await async_client.chat.completions.create(**fields)
    stream = await async_client.chat.completions.create(**fields, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert whole.choices[0].message.content == "".join(pieces) == expected


async def test_a_hundred_requests_at_once_from_one_async_client(async_client: AsyncOpenAI) -> None:
    fields: Any = {"model": "fake", "messages": MESSAGES, "max_tokens": 5}
    answers = await asyncio.gather(
        *(async_client.chat.completions.create(**fields, seed=number % 10) for number in range(100))
    )
    texts = [answer.choices[0].message.content for answer in answers]
    assert texts[:10] * 10 == texts
    assert len(set(texts)) == 10


def test_the_packages_own_stream_helper_collects_the_answer(client: OpenAI) -> None:
    with client.chat.completions.stream(model="fake", messages=MESSAGES, max_tokens=50, seed=1) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds.count("content.delta") >= 24
    assert final.choices[0].message.content == ask(client, max_tokens=50).choices[0].message.content


async def test_comments_in_the_silence_within_a_stream_disturb_no_client(
    client: OpenAI, async_client: AsyncOpenAI, runtime: SeeingRuntime
) -> None:
    """The package takes an empty line after any event with an id for another event, so that a comment has none."""
    expected = ask(client).choices[0].message.content
    runtime.step_delay = 2 * KEEP_ALIVE_S
    fields: Any = {"model": "fake", "messages": MESSAGES, "max_tokens": 5, "seed": 1, "stream": True}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in ask(client, stream=True)) == expected
    stream = await async_client.chat.completions.create(**fields)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == expected


def test_raw_answers_show_the_request_id_and_echo_a_plain_one(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="fake", messages=MESSAGES, max_tokens=1)
    assert raw.request_id is not None
    assert raw.request_id.startswith("req-")
    assert raw.parse()._request_id == raw.request_id
    own = client.models.with_raw_response.list(extra_headers={"x-request-id": "my.id_1-2"})
    assert own.request_id == "my.id_1-2"


def test_streaming_raw_answers_are_server_sent_events(client: OpenAI) -> None:
    create = client.chat.completions.with_streaming_response.create
    with create(model="fake", messages=MESSAGES, max_tokens=2, stream=True) as raw:
        assert raw.headers["content-type"].startswith("text/event-stream")
        lines = list(raw.iter_lines())
    assert lines[-2:] == ["data: [DONE]", ""]


def test_closing_a_stream_early_cancels_the_request(client: OpenAI, http: httpx.Client, runtime: SeeingRuntime) -> None:
    runtime.step_delay = 0.02
    stream = ask(client, stream=True, max_tokens=20)
    first = next(iter(stream))
    stream.close()
    until = time.monotonic() + 10
    while (status := http.get(f"/v1/requests/{first.id}").json()["status"]) != "cancelled":
        assert time.monotonic() < until, status
        time.sleep(0.02)


# Retries


def test_a_429_is_tried_again_after_its_milliseconds(strict: Strict, caplog: pytest.LogCaptureFixture) -> None:
    """The bucket of tokens is a little below zero: the time to wait is under a second, which only milliseconds say.

    A machine that is busy for that long finds the bucket filled again: then another key has another try.
    """
    long: Any = [{"role": "user", "content": "word " * 580}]
    for _ in range(10):
        caplog.clear()
        answers: list[httpx.Response] = []
        with (
            httpx.Client(event_hooks={"response": [answers.append]}, trust_env=False) as plain,
            OpenAI(base_url=f"{strict.url}/v1", api_key=strict.key(), max_retries=2, http_client=plain) as client,
            caplog.at_level("INFO", logger="openai._base_client"),
        ):
            ask(client, messages=long, max_tokens=24)
            assert ask(client, max_tokens=1).choices
        refused = [answer.headers for answer in answers if answer.status_code == 429]
        if refused and int(refused[0]["retry-after-ms"]) > 50:
            break
    wait = int(refused[0]["retry-after-ms"]) / 1000
    assert (wait < 0.95, refused[0]["retry-after"]) == (True, "1")
    waited = re.findall(r"Retrying request .*?in ([\d.]+) seconds", caplog.text)
    assert float(waited[0]) == pytest.approx(wait), "it waited whole seconds"


def test_a_503_is_tried_again_after_retry_after(gateway: Any, url: str) -> None:
    state = gateway[1]
    state.leaving.set()
    threading.Timer(0.4, state.leaving.clear).start()
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=3) as client:
        assert ask(client, max_tokens=1).choices
    assert not state.leaving.is_set()


def test_an_error_that_no_retry_can_mend_is_sent_once(url: str, http: httpx.Client) -> None:
    def sent() -> int:
        found = [
            line for line in http.get("/metrics").text.splitlines() if '"/v1/chat/completions",status="400"' in line
        ]
        return int(float(found[0].split()[-1])) if found else 0

    before = sent()
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=3) as client, pytest.raises(openai.BadRequestError):
        ask(client, temperature=999)
    assert sent() == before + 1


# Timeouts


def test_the_clients_timeout_is_its_own_error_and_cancels_the_request(url: str, runtime: SeeingRuntime) -> None:
    runtime.step_delay = 0.3
    before = len(runtime.aborted)
    with (
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=0.4) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        ask(client, max_tokens=20)
    until = time.monotonic() + 10
    while len(runtime.aborted) == before:
        assert time.monotonic() < until, "it still runs"
        time.sleep(0.02)


def test_an_address_where_nobody_listens_is_a_connection_error() -> None:
    with (
        OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.APIConnectionError),
    ):
        ask(client)


# Errors as the package's own classes

CLASSES: dict[str, tuple[type[openai.APIStatusError], str, Callable[[OpenAI], Any]]] = {
    "a wrong field": (openai.BadRequestError, "invalid_request", lambda client: ask(client, top_p=7)),
    "an unknown model": (openai.NotFoundError, "model_not_found", lambda client: ask(client, model="nobody")),
    "an unknown file": (openai.NotFoundError, "file_not_found", lambda client: client.files.retrieve("file-0")),
    "a prompt too long": (
        openai.BadRequestError,
        "context_length_exceeded",
        lambda client: ask(client, messages=[{"role": "user", "content": "word " * 3000}]),
    ),
    "a sequence that failed": (
        openai.InternalServerError,
        "engine_error",
        lambda client: ask(client, messages=[{"role": "user", "content": "FAULT-SEQUENCE"}]),
    ),
}


@pytest.mark.parametrize("what", list(CLASSES))
def test_errors_are_the_packages_own_classes_with_code_type_and_message(client: OpenAI, what: str) -> None:
    kind, code, call = CLASSES[what]
    with pytest.raises(kind) as raised:
        call(client)
    assert raised.value.code == code
    assert raised.value.type
    assert raised.value.request_id


def test_a_missing_or_wrong_key_is_an_authentication_error(strict: Strict) -> None:
    with (
        OpenAI(base_url=f"{strict.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        client.models.list()
    assert raised.value.code == "invalid_api_key"


def test_a_key_that_may_not_do_this_is_a_permission_error(strict: Strict) -> None:
    with OpenAI(base_url=f"{strict.url}/v1", api_key="reader", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["fake"]
        with pytest.raises(openai.PermissionDeniedError) as raised:
            ask(client)
    assert raised.value.code == "permission_denied"


def test_a_failure_in_a_stream_is_an_api_error_with_its_message(client: OpenAI) -> None:
    stream = ask(client, messages=[{"role": "user", "content": "FAULT-SEQUENCE"}], stream=True)
    with pytest.raises(openai.APIError, match=r"\w") as raised:
        list(stream)
    assert raised.value.code == "engine_error"


# Models


def test_models_are_listed_and_found_with_what_they_take(client: OpenAI) -> None:
    (model,) = client.models.list().data
    assert model == client.models.retrieve("fake")
    assert (model.id, model.object, model.owned_by, model.created) == ("fake", "model", "pandagpt", 1_700_000_000)
    more = model.model_extra or {}
    assert set(more["input_modalities"]) == {"image", "video", "audio", "depth", "thermal", "imu", "text", "points"}
    assert set(more["recipes"]) == set(more["input_modalities"])
    for modality, name in more["recipes"].items():
        assert name in [recipe.name for recipe in MODALITIES[modality].recipes]
    assert (more["max_model_len"], more["system"]) == (2048, "fake")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")
