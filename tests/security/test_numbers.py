"""Threat: `n`, `max_tokens` unbounded (vLLM CVE-2026-34756).

Measure: every number that a caller may send has bounds; 2³¹, 10¹⁸, −1, NaN and Infinity are 400 wherever a bound is
below them, in JSON, in forms and in queries.
"""

import json

import httpx
import pytest

from service.gateway.schema import sampling
from tests.security.neighbours import data_url, neighbour, picture

HUGE = ["2147483648", "1000000000000000000", "-1", "NaN", "Infinity", "-Infinity", "1e999", "1e400", "-2147483649"]
SAMPLING = sorted(
    name
    for name, field in sampling.Sampling.model_json_schema()["properties"].items()
    if any(kind.get("type") in ("integer", "number") for kind in field.get("anyOf", [field]))
)
# Values that a field has a meaning for: -1 leaves it to the model, seeds have 64 bits, a user may be any number.
NEGATIVE_IS_FINE = {
    *("frequency_penalty", "presence_penalty", "thermal_low", "thermal_high", "priority"),
    *("max_tokens", "max_completion_tokens", "top_k", "seed", "user"),
}
OF_64_BITS = {"seed", "user"}


def test_the_numbers_of_a_request_are_these() -> None:
    """A new number needs a bound, and a line here."""
    assert [
        *("best_of", "frequency_penalty", "max_completion_tokens", "max_tokens", "min_p", "min_tokens", "n"),
        "no_repeat_ngram_size",
        *("presence_penalty", "priority", "repetition_penalty", "seed", "temperature", "top_k", "top_logprobs"),
        *("top_p", "user"),
    ] == SAMPLING


def hostile(field: str) -> list[str]:
    values = [value for value in HUGE if not (value == "-1" and field in NEGATIVE_IS_FINE)]
    if field in OF_64_BITS:
        return [value for value in values if not value.lstrip("-").isdigit()] + ["18446744073709551616"]
    return values


def assert_refused(answer: httpx.Response, what: object) -> None:
    assert answer.status_code == 400, (what, answer.text)
    assert answer.json()["error"]["code"] == "invalid_request"
    assert len(answer.content) < 4096


def test_in_a_chat_body(steady_http: httpx.Client) -> None:
    with neighbour(steady_http.base_url):
        for field in SAMPLING:
            for value in hostile(field):
                body = f'{{"messages": [{{"role": "user", "content": "Hi"}}], "logprobs": true, "{field}": {value}}}'
                headers = {"content-type": "application/json"}
                assert_refused(steady_http.post("/v1/chat/completions", content=body, headers=headers), (field, value))


def test_in_a_form(steady_http: httpx.Client) -> None:
    numbers = [*SAMPLING, "depth_focal_px", "depth_baseline_m", "thermal_low", "thermal_high", "imu_rate_hz"]
    with neighbour(steady_http.base_url):
        for field in numbers:
            for value in hostile(field):
                fields = {"prompt": "Hi", "logprobs": "true", field: value}
                assert_refused(steady_http.post("/v1/generate", data=fields, files={"x": b""}), (field, value))


@pytest.mark.parametrize("value", HUGE)
def test_in_media_parts_weights_and_queries(steady_http: httpx.Client, value: str) -> None:
    url = json.dumps(data_url(picture()))
    parts = [
        f'{{"type": "image_url", "image_url": {{"url": {url}}}, "weight": {value}}}',
        f'{{"type": "depth_url", "depth_url": {{"url": {url}, "depth": {{"unit": "m", "focal_px": {value}}}}}}}',
        f'{{"type": "depth_url", "depth_url": {{"url": {url}, "depth": {{"unit": "m", "baseline_m": {value}}}}}}}',
        f'{{"type": "imu_url", "imu_url": {{"url": {url}, "imu": {{"rate_hz": {value}}}}}}}',
    ]
    for part in parts:
        headers = {"content-type": "application/json"}
        chat = f'{{"messages": [{{"role": "user", "content": [{part}]}}]}}'
        assert_refused(steady_http.post("/v1/chat/completions", content=chat, headers=headers), part[:30])
        embed = f'{{"input": [{part}]}}'
        assert_refused(steady_http.post("/v1/embeddings", content=embed, headers=headers), part[:30])
    embed = f'{{"input": "x", "dimensions": {value}}}'
    assert_refused(steady_http.post("/v1/embeddings", content=embed, headers={"content-type": "application/json"}), 0)
    weights = {"prompt": "Hi", "weights": f'{{"image": [{value}]}}'}
    assert_refused(steady_http.post("/v1/generate", data=weights, files={"image": picture()}), "weights")
    assert_refused(steady_http.get("/v1/files", params={"limit": value}), "limit")
    stream = steady_http.get("/v1/requests/chatcmpl-x/events", headers={"last-event-id": value})
    assert stream.status_code in (400, 404)
