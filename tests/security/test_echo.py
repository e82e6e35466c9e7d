"""Threat: validation errors echoed the input (vLLM: 4 KB in, 23 MB out).

Measure: an error body stays under 4 KB and repeats nothing, whatever comes in.
"""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CANARY = "canary-e4c1"
LONG = CANARY * 20_000
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | st.just(CANARY),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.just(CANARY), inner, max_size=4)
    ),
    max_leaves=12,
)


def bodies() -> dict[str, Any]:
    user = {"role": "user", "content": "Hi"}
    return {
        "thousands of wrong messages": {"messages": [{"role": LONG[:100], "content": 7}] * 1000},
        "thousands of wrong parts": {"messages": [{"role": "user", "content": [{"type": CANARY}] * 256}]},
        "a long wrong value": {"messages": [user], "temperature": LONG},
        "a long unknown name": {"messages": [user], LONG: 1, "max_tokens": 0},
        "ten thousand unknown names": {"messages": [user], **{f"{CANARY}{n}": n for n in range(10_000)}, "n": 0},
        "a long model": {"messages": [user], "model": LONG[:256]},
        "a longer model": {"messages": [user], "model": LONG},
        "a long url": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": LONG}}]}]},
        "a long data url": {
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:{LONG}"}}]}]
        },
        "a long remote url": {
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"http://{LONG}"}}]}]
        },
        "a long file id": {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": LONG}}]}]},
        "a long role": {"messages": [{"role": LONG, "content": "x"}]},
        "a wrong tool": {"messages": [user], "tools": [{LONG: LONG}]},
        "deep": {"messages": [user], "stop": [[[[[[[[LONG]]]]]]]]},
        "wrong numbers": {"messages": [user], "seed": 10**4000},
    }


def assert_silent(answer: httpx.Response, what: object) -> None:
    assert 400 <= answer.status_code < 500, (what, answer.status_code)
    assert len(answer.content) < 4096, what
    assert CANARY not in answer.text, what
    assert len(str(answer.headers)) < 4096
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
def test_no_error_is_long_and_none_repeats_its_caller(steady_http: httpx.Client, path: str) -> None:
    for what, body in bodies().items():
        sent = body if path.endswith("completions") else {"input": body["messages"], **body}
        assert_silent(steady_http.post(path, json=sent), what)


def test_forms_paths_queries_and_headers_are_not_repeated_either(steady_http: httpx.Client) -> None:
    form = [{CANARY: LONG}, {"prompt": LONG * 2}, {"prompt": "x", "messages": LONG}, {"prompt": "x", "weights": LONG}]
    form += [{"prompt": "x", "temperature": LONG}, {"prompt": "x", "model": CANARY}]
    for fields in form:
        assert_silent(steady_http.post("/v1/generate", data=fields, files={"y": b""}), str(fields)[:50])
    for path in (f"/{CANARY}", f"/v1/models/{CANARY}", f"/v1/files/{CANARY}", f"/v1/requests/{CANARY}"):
        assert_silent(steady_http.get(path), path)
    assert_silent(steady_http.get("/v1/files", params={"order": LONG[:2000], "limit": CANARY}), "query")
    assert_silent(steady_http.post("/v1/chat/completions", content=b"{", headers={"content-type": CANARY}), "type")
    assert_silent(steady_http.request("PATCH", f"/v1/models/{CANARY}"), "method")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON)
def test_any_json_gets_an_answer_that_is_short_and_silent(steady_http: httpx.Client, body: Any) -> None:
    raw = json.dumps(body)
    for path in ("/v1/chat/completions", "/v1/embeddings"):
        answer = steady_http.post(path, content=raw, headers={"content-type": "application/json"})
        assert_silent(answer, raw[:100])
