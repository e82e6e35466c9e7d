"""Every row of the error table over HTTP: status, code, type, headers, and a message that says the limit."""

import contextlib
import io
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from pandagpt_core.types import Modality
from service.gateway.errors import ERRORS
from service.gateway.state import GatewayState
from service.settings import StoreSettings
from tests.contract import made
from tests.contract.conftest import SeeingRuntime, Strict, running, settings_for
from tests.fakes import FAKE_INFO, FakeRuntime, worker_thread

CHAT = "/v1/chat/completions"
HELLO: list[Any] = [{"role": "user", "content": "Hi"}]


def ask(http: httpx.Client, **fields: Any) -> httpx.Response:
    return http.post(CHAT, json={"messages": HELLO, "max_tokens": 1, **fields})


def refusal(answer: httpx.Response, code: str) -> dict[str, Any]:
    """The error, after a look at all that every error has."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (ERRORS[code].status, code, ERRORS[code].type)
    assert set(error) == {"message", "type", "param", "code"}
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])
    assert not re.search(r"0x[0-9a-f]|/tmp|Traceback|\.py", answer.text)
    waits = {"retry-after", "retry-after-ms"} & set(answer.headers)
    assert waits == ({"retry-after", "retry-after-ms"} if answer.status_code in (429, 503) else set())
    return error


def test_a_body_that_is_no_json_is_an_invalid_request(http: httpx.Client) -> None:
    answer = http.post(CHAT, content=b"{", headers={"content-type": "application/json"})
    refusal(answer, "invalid_request")


def test_a_field_that_is_wrong_or_out_of_range_is_named(http: httpx.Client) -> None:
    assert refusal(ask(http, temperature=300), "invalid_request")["param"] == "temperature"
    assert refusal(ask(http, max_tokens="7"), "invalid_request")["param"] == "max_tokens"
    error = refusal(ask(http, n=9), "invalid_request")
    assert (error["param"], re.findall(r"\d+", error["message"])) == ("n", ["9", "8"])


@pytest.mark.parametrize("value", [2**64, 10**30, -(2**64)])
def test_numbers_beyond_every_bound_are_refused(http: httpx.Client, value: int) -> None:
    for name in ("max_tokens", "n", "seed", "top_k", "top_logprobs"):
        assert refusal(ask(http, logprobs=True, **{name: value}), "invalid_request")["param"] == name


def test_media_that_cannot_be_decoded_are_named(http: httpx.Client) -> None:
    part = {"type": "image_url", "image_url": {"url": made.data_url(b"no picture", "image/png")}}
    error = refusal(ask(http, messages=[{"role": "user", "content": [part]}]), "invalid_media")
    assert error["param"] == "messages[0].content[0].image_url.url"


def test_media_of_the_wrong_kind_or_too_large_when_decoded_are_named(http: httpx.Client) -> None:
    wide = io.BytesIO()
    Image.new("1", (9000, 9000)).save(wide, "PNG")
    for field, data, limit in (("audio", made.PNG, ""), ("image", wide.getvalue(), "40000000")):
        answer = http.post("/v1/generate", data={"prompt": "x"}, files={field: data})
        error = refusal(answer, "invalid_media")
        assert error["param"] == field
        assert limit in error["message"]


def test_a_key_that_is_missing_or_wrong(strict: Strict) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic dXNlcjA6"}):
        answer = httpx.get(f"{strict.url}/v1/models", headers=headers)
        refusal(answer, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_key_that_may_not_do_this(strict: Strict) -> None:
    answer = httpx.post(f"{strict.url}{CHAT}", json={"messages": HELLO}, headers={"authorization": "Bearer reader"})
    refusal(answer, "permission_denied")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/models/nobody", "model_not_found"),
        ("/v1/files/file-0", "file_not_found"),
        ("/v1/requests/chatcmpl-0", "request_not_found"),
        ("/v1/nothing", "not_found"),
    ],
)
def test_what_is_not_there_is_a_404_of_its_own_code(http: httpx.Client, path: str, code: str) -> None:
    refusal(http.get(path), code)


def test_a_method_that_an_endpoint_does_not_take_is_a_405_with_those_it_takes(http: httpx.Client) -> None:
    answer = http.put("/v1/files")
    refusal(answer, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST"


def test_a_part_or_a_body_too_large_is_a_413_that_says_the_limit(http: httpx.Client) -> None:
    answer = http.post("/v1/generate", data={"prompt": "x"}, files={"image": bytes((4 << 20) + 1)})
    error = refusal(answer, "too_large")
    assert (error["param"], str(4 << 20) in error["message"]) == ("image", True)
    declared = exchange(str(http.base_url), f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {1 << 40}\r\n\r\n")
    assert declared.startswith(b"HTTP/1.1 413 ")


def test_a_prompt_longer_than_the_context(http: httpx.Client) -> None:
    error = refusal(ask(http, messages=[{"role": "user", "content": "word " * 3000}]), "context_length_exceeded")
    assert "2048" in error["message"]


def test_a_key_over_its_limit_waits_and_every_answer_states_what_is_left(strict: Strict) -> None:
    headers = {"authorization": f"Bearer {strict.key()}"}
    with httpx.Client(base_url=strict.url, headers=headers, timeout=20, trust_env=False) as http:
        answers = [ask(http), ask(http, top_p=9), ask(http), ask(http)]
    assert [answer.status_code for answer in answers] == [200, 400, 200, 429]
    refusal(answers[-1], "rate_limit_exceeded")
    assert int(answers[-1].headers["retry-after-ms"]) <= 20_000
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["2", "1", "0", "0"]
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"3"}
    assert all("x-ratelimit-reset-tokens" in answer.headers for answer in answers)


def test_a_key_with_too_many_requests_at_once_waits(strict: Strict, runtime: SeeingRuntime) -> None:
    runtime.step_delay = 0.1
    headers = {"authorization": f"Bearer {strict.key()}"}
    body = {"messages": HELLO, "max_tokens": 20, "stream": True}
    with (
        httpx.Client(base_url=strict.url, headers=headers, timeout=20, trust_env=False) as http,
        contextlib.ExitStack() as stack,
    ):
        one, two = (stack.enter_context(http.stream("POST", CHAT, json=body)) for _ in range(2))
        assert (one.status_code, two.status_code) == (200, 200)
        refusal(ask(http), "rate_limit_exceeded")


def test_while_the_gateway_drains_new_requests_are_turned_away(
    gateway: tuple[str, GatewayState], http: httpx.Client
) -> None:
    gateway[1].leaving.set()
    try:
        refusal(ask(http), "draining")
        refusal(http.get("/health/ready"), "draining")
    finally:
        gateway[1].leaving.clear()
    assert ask(http).status_code == 200


@pytest.fixture(scope="module")
def lonely(store: StoreSettings) -> Iterator[str]:
    """A gateway whose models nobody serves, and which is impatient with slow bodies and heads."""
    settings = settings_for(
        store.model_copy(update={"namespace": "lonely"}),
        header_timeout_s=0.3,
        body_timeout_s=0.3,
        max_header_bytes=4096,
    )
    with running(settings) as (url, _):
        yield url


def test_without_a_worker_every_door_says_so_at_once(lonely: str) -> None:
    with httpx.Client(base_url=lonely, timeout=20, trust_env=False) as http:
        refusal(ask(http), "no_worker")
        refusal(http.post("/v1/embeddings", json={"input": "x"}), "no_worker")
        refusal(http.post("/v1/generate", files={"prompt": (None, b"x")}), "no_worker")
        refusal(http.get("/health/ready"), "no_worker")
        assert http.get("/health/live").json() == {"status": "ok"}
        assert http.get("/v1/models").json()["data"] == []


def test_a_full_queue_is_overloaded_at_once(store: StoreSettings, runtime: SeeingRuntime) -> None:
    """The queue of an address with room for nothing is full as soon as one request waits."""
    small = store.model_copy(update={"namespace": "small", "max_queue": 1})
    slow = SeeingRuntime(step_delay=0.2)
    body = {"messages": HELLO, "max_tokens": 20, "stream": True}
    with worker_thread(small, slow, max_sequences=1, prefetch=0), running(settings_for(small)) as (url, _):
        http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        with http, http.stream("POST", CHAT, json=body), http.stream("POST", CHAT, json=body):
            refusal(ask(http), "overloaded")
            slow.step_delay = 0.0


def test_a_store_that_cannot_be_reached(tmp_path: Any) -> None:
    nowhere = StoreSettings(url=f"unix://{tmp_path}/none", connect_timeout_s=0.2)
    with running(settings_for(nowhere)) as (url, _), httpx.Client(base_url=url, timeout=20, trust_env=False) as http:
        refusal(ask(http), "store_unavailable")
        refusal(http.get("/health/ready"), "store_unavailable")
        assert http.get("/health/live").status_code == 200


def test_a_sequence_that_failed_is_a_500(http: httpx.Client) -> None:
    refusal(ask(http, messages=[{"role": "user", "content": "FAULT-SEQUENCE"}], max_tokens=9), "engine_error")


def test_a_request_that_takes_longer_than_its_deadline_is_a_504(store: StoreSettings, runtime: SeeingRuntime) -> None:
    with running(settings_for(store, request_timeout_s=0.5)) as (url, _):
        runtime.step_delay = 0.3
        answer = httpx.post(f"{url}{CHAT}", json={"messages": HELLO, "max_tokens": 20}, timeout=20)
    refusal(answer, "deadline_exceeded")
    assert answer.headers["x-should-retry"] == "false"


def test_a_modality_that_the_model_does_not_take_is_named(store: StoreSettings) -> None:
    few = store.model_copy(update={"namespace": "few"})
    info = replace(FAKE_INFO, recipes={Modality.IMAGE: "imagebind-image-v1"})
    with worker_thread(few, FakeRuntime(info=info)), running(settings_for(few)) as (url, _):
        answer = httpx.post(f"{url}/v1/generate", data={"prompt": "x"}, files={"audio": made.PNG}, timeout=20)
    assert refusal(answer, "unsupported_modality")["param"] == "audio"


# Refusals before there is a request


def exchange(url: str, *pieces: str) -> bytes:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece.encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
            if b"\r\n\r\n" in answer and b"connection: close" not in answer:
                break
        return answer


BYTES: dict[str, tuple[str, str]] = {
    "invalid_request": ("This is no HTTP.\r\n\r\n", "bytes that are no HTTP"),
    "headers_too_large": (f"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-big: {'a' * 5000}", "a head above the limit"),
    "head_timeout": ("GET /v1/models HTTP/1.1\r\nhost:", "a head that does not end"),
    "body_timeout": (f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{{", "a body that does not end"),
}


@pytest.mark.parametrize("code", list(BYTES))
def test_bytes_that_make_no_request_are_refused_in_the_same_shape(lonely: str, code: str) -> None:
    head, _, body = exchange(lonely, BYTES[code][0]).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % ERRORS[code].status)
    assert b"x-request-id: req-" in head
    assert json.loads(body)["error"]["code"] == code
