"""The error table: every row's status, shape and headers; no body over 4 KB and none that echoes its caller."""

import json
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from pandagpt_core.errors import ContextLengthExceeded, InvalidMedia, KeyMismatch
from service.broker.errors import Draining, NoWorker, Overloaded, StoreFull, StoreUnavailable, UnknownRequest
from service.gateway.errors import ERRORS, GatewayError, error_response, from_core, param_of
from service.gateway.middleware import RequestContextMiddleware
from service.metrics import GatewayMetrics
from service.tracing import NoTracer

DOCUMENTED = {
    "invalid_request": 400,
    "invalid_media": 400,
    "invalid_api_key": 401,
    "permission_denied": 403,
    "model_not_found": 404,
    "file_not_found": 404,
    "request_not_found": 404,
    "too_large": 413,
    "context_length_exceeded": 400,
    "rate_limit_exceeded": 429,
    "overloaded": 503,
    "no_worker": 503,
    "draining": 503,
    "store_unavailable": 503,
    "worker_lost": 500,
}


@pytest.mark.parametrize("code", list(ERRORS))
def test_every_code_has_its_status_and_shape(code: str) -> None:
    response = error_response(GatewayError(code, "x" * 10_000, param="y" * 10_000))
    assert response.status_code == DOCUMENTED.get(code, ERRORS[code].status)
    body = json.loads(response.body)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["code"] == code
    assert len(response.body) < 4096
    assert ("retry-after" in response.headers) == (response.status_code in (429, 503))
    assert ("retry-after-ms" in response.headers) == (response.status_code in (429, 503))


def test_the_documented_rows_are_all_there() -> None:
    assert set(DOCUMENTED) <= set(ERRORS)


def test_a_lost_worker_is_not_to_be_retried() -> None:
    assert error_response(GatewayError("worker_lost", "gone")).headers["x-should-retry"] == "false"


def test_the_time_to_wait_is_said_in_seconds_and_milliseconds() -> None:
    headers = error_response(GatewayError("overloaded", "full", retry_after_s=1.25)).headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "1250")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContextLengthExceeded("long", param="messages"), "context_length_exceeded"),
        (InvalidMedia("bad"), "invalid_media"),
        (KeyMismatch("a secret path", missing=["x"]), "internal_error"),
        (Overloaded("full"), "overloaded"),
        (NoWorker("none"), "no_worker"),
        (Draining("going"), "draining"),
        (StoreUnavailable("down"), "store_unavailable"),
        (StoreFull("full"), "store_unavailable"),
        (UnknownRequest("none"), "request_not_found"),
    ],
)
def test_errors_from_below_keep_their_code_if_it_is_the_callers_business(error: Any, code: str) -> None:
    translated = from_core(error)
    assert translated.code == code
    assert "secret" not in translated.message


@pytest.mark.parametrize(
    ("loc", "param"),
    [
        (("messages", 0, "content", 1, "image_url", "image_url", "url"), "messages[0].content[1].image_url.url"),
        (("max_tokens",), "max_tokens"),
        (("input", 2, "text", "text"), "input[2].text"),
        (("stop", 3), "stop[3]"),
        ((), None),
        (("a b\n", 1), "[1]"),
    ],
)
def test_a_fields_path_is_written_as_openai_does(loc: tuple[Any, ...], param: str | None) -> None:
    assert param_of(loc) == param


# Over HTTP

CANARY = "canary-7f3a"


def chat(http: httpx.Client, **fields: object) -> httpx.Response:
    body: dict[str, object] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, **fields}
    return http.post("/v1/chat/completions", content=json.dumps(body), headers={"content-type": "application/json"})


def content(*parts: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": list(parts)}]


HUGE = 2**31
NUMBERS = ["max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "n", "top_logprobs"]


@pytest.mark.parametrize("field", NUMBERS)
def test_every_number_is_bounded_and_named(steady_http: httpx.Client, field: str) -> None:
    beyond = (2**64, -(2**64)) if field == "seed" else (HUGE, 10**18, -2)  # a seed has 64 bits, -1 leaves it open
    for value in (*beyond, float("nan"), float("inf"), float("-inf"), "1", True, [1], {}):
        answer = chat(steady_http, logprobs=True, **{field: value})
        assert answer.status_code == 400, value
        error = answer.json()["error"]
        assert error["code"] == "invalid_request"
        assert error["param"] in (field, None), "JSON has no NaN, so then the body is what is wrong"


@pytest.mark.parametrize("field", ["frequency_penalty", "presence_penalty"])
def test_penalties_are_bounded_both_ways(steady_http: httpx.Client, field: str) -> None:
    for value in (HUGE, 10**18, -2.5, "1", True):
        answer = chat(steady_http, **{field: value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
    assert chat(steady_http, **{field: -2}).status_code == 200


WRONG: dict[str, tuple[dict[str, object], str | None]] = {
    "no messages": ({"messages": []}, "messages"),
    "messages of another type": ({"messages": "Hi"}, "messages"),
    "an unknown role": ({"messages": [{"role": "judge", "content": "x"}]}, "messages[0].role"),
    "no role": ({"messages": [{"content": "x"}]}, "messages[0].role"),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0].content"),
    "an unknown part": ({"messages": content({"type": CANARY})}, "messages[0].content[0]"),
    "a part without a type": ({"messages": content({"text": "x"})}, "messages[0].content[0]"),
    "a picture that is no base64": (
        {"messages": content({"type": "image_url", "image_url": {"url": "data:image/png;base64,@@@"}})},
        "messages[0].content[0].image_url.url",
    ),
    "a picture elsewhere": (
        {"messages": content({"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}})},
        "messages[0].content[0].image_url.url",
    ),
    "a path": (
        {"messages": content({"type": "image_url", "image_url": {"url": "/etc/passwd"}})},
        "messages[0].content[0].image_url.url",
    ),
    "an endless weight": (
        {"messages": content({"type": "context_text", "context_text": "x", "weight": 1e30})},
        "messages[0].content[0].weight",
    ),
    "five stops": ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    "a stop that is a number": ({"stop": [5]}, "stop[0]"),
    "a model that is a number": ({"model": 5}, "model"),
    "a priority unknown": ({"priority": "urgent"}, "priority"),
    "too much text": ({"messages": [{"role": "user", "content": "x" * 200_001}]}, "messages[0].content[0].text"),
    "too many messages": ({"messages": [{"role": "user", "content": "x"}] * 257}, "messages"),
    "more tokens than the limit": ({"max_tokens": 100_000}, "max_tokens"),
    "more tokens by the newer name": ({"max_completion_tokens": 100_000}, "max_completion_tokens"),
    "alternatives without logprobs": ({"top_logprobs": 2}, "top_logprobs"),
    "options of a stream without one": ({"stream_options": {"include_usage": True}}, "stream_options"),
    "more choices than the limit": ({"n": 9}, "n"),
}


@pytest.mark.parametrize("what", list(WRONG))
def test_a_wrong_field_is_named_and_its_value_not_echoed(steady_http: httpx.Client, what: str) -> None:
    fields, param = WRONG[what]
    answer = chat(steady_http, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", param)
    assert CANARY not in answer.text
    assert chat(steady_http).status_code == 200


def test_a_body_that_is_no_json_object_is_refused(steady_http: httpx.Client) -> None:
    for body in (b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 50_000, b'{"messages": ' + b"[" * 5000, b'{"a":1}' * 3):
        answer = steady_http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
        assert len(answer.content) < 4096


def test_a_megabyte_of_nonsense_is_answered_in_four_kilobytes(steady_http: httpx.Client) -> None:
    for fields in (
        {"messages": [{"role": CANARY * 1000, "content": CANARY * 1000}] * 100},
        {"stop": [CANARY * 1000] * 4},
        {"model": CANARY * 100_000},
        {CANARY * 1000: 1, "max_tokens": CANARY},
    ):
        answer = chat(steady_http, **fields)
        assert answer.status_code == 400
        assert len(answer.content) < 4096
        assert CANARY not in answer.text


def test_millions_of_small_elements_are_refused_before_they_are_built(steady_http: httpx.Client) -> None:
    body = b'{"messages":[' + b"[]," * 2_000_000 + b"[]]}"
    answer = steady_http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_a_fault_of_our_own_is_a_500_in_the_same_shape_without_its_words() -> None:
    async def broken(_scope: object, _receive: object, _send: object) -> None:
        raise RuntimeError(CANARY)

    envelope = RequestContextMiddleware(broken, GatewayMetrics.on(CollectorRegistry()), NoTracer())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=envelope), base_url="http://gateway") as http:
        answer = await http.get("/")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (500, "internal_error", "server_error")
    assert answer.headers["x-request-id"].startswith("req-")
    assert CANARY not in answer.text


def test_another_content_type_is_refused(steady_http: httpx.Client) -> None:
    answer = steady_http.post("/v1/chat/completions", content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 400


def test_an_unknown_model_path_or_method(steady_http: httpx.Client) -> None:
    for answer, status, code in (
        (chat(steady_http, model="nobody"), 404, "model_not_found"),
        (steady_http.get("/v1/models/nobody"), 404, "model_not_found"),
        (steady_http.get(f"/{CANARY}"), 404, "not_found"),
        (steady_http.get("/v1/chat/completions"), 405, "method_not_allowed"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert CANARY not in answer.text


def test_a_huge_head_is_refused(steady_http: httpx.Client) -> None:
    answer = steady_http.get("/v1/models", headers={"x-big": "a" * 40_000})
    assert answer.status_code == 431 or answer.status_code == 400, "by us, or by the server before us"
    assert steady_http.get("/v1/models").status_code == 200
