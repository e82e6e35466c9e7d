"""The charge to a key's tokens a minute: each request once, to its end, for any reader."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread

FULL = 60  # tokens a minute: one a second comes back
ANSWER = 40
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": ANSWER, "ignore_eos": True}
KEY = {"idempotency-key": "one"}


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def http(
    valkey: Valkey, runtime: FakeRuntime, tmp_path: Path, start_gateway: Callable[..., tuple[str, GatewayState]]
) -> Iterator[httpx.Client]:
    keys = tmp_path / "keys"
    keys.write_text(f"ann {hashlib.sha256(b'ann').hexdigest()}\n")
    url, _ = start_gateway(keys_file=keys, rate_tokens=FULL)
    with worker_thread(valkey.settings, runtime), httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        client.headers["authorization"] = "Bearer ann"
        yield client


def left(valkey: Valkey) -> float:
    """Tokens in the bucket when it was last written."""
    (bucket,) = valkey.client.scan_iter("*:rate:*")
    return float(valkey.client.hget(bucket, "tokens") or FULL)


def spent_by_now(valkey: Valkey, least: float) -> bool:
    until = time.monotonic() + 20
    while left(valkey) > FULL - least:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_repeat_that_runs_nothing_is_not_charged(http: httpx.Client, valkey: Valkey, stream: bool) -> None:
    sent = [http.post("/v1/chat/completions", json=BODY | {"stream": stream}, headers=KEY) for _ in range(2)]
    assert [answer.status_code for answer in sent] == [200, 200]
    assert "idempotent-replayed" in sent[1].headers
    assert 0 < left(valkey) <= FULL - ANSWER + 20, "a second charge would pass below zero"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", BODY),
        ("/v1/completions", {"prompt": "Hi", "max_tokens": 2}),
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 16}),
        ("/v1/embeddings", {"input": "Hi"}),
    ],
)
def test_repeats_do_not_count_as_requests(
    valkey: Valkey, tmp_path: Path, start_gateway: Callable[..., tuple[str, GatewayState]], path: str, body: Any
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"ann {hashlib.sha256(b'ann').hexdigest()}\n")
    url, _ = start_gateway(keys_file=keys, rate_requests=3)
    with worker_thread(valkey.settings), httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        client.headers["authorization"] = "Bearer ann"
        sent = [client.post(path, json=body, headers=KEY).status_code for _ in range(6)]
        assert sent == [200] * 6, "the limit is 3 requests a minute, and only one was run"
        assert client.post(path, json=body).status_code == 200


def test_a_repeated_embedding_is_not_charged(http: httpx.Client, valkey: Valkey) -> None:
    body = {"input": "a dog " * 15}
    sent = [http.post("/v1/embeddings", json=body, headers=KEY) for _ in range(2)]
    used = sent[0].json()["usage"]["prompt_tokens"]
    assert "idempotent-replayed" in sent[1].headers
    assert FULL / 2 < used < FULL
    assert left(valkey) > 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 16, "background": True}),
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 16, "background": True, "stream": True}),
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 16, "stream": True}),
        ("/v1/completions", {"prompt": "Hi", "max_tokens": 16, "ignore_eos": True}),
    ],
    ids=["background", "background stream", "stream", "whole"],
)
def test_usage_counts_each_answer_once_whoever_reads_it(
    valkey: Valkey, start_gateway: Callable[..., tuple[str, GatewayState]], path: str, body: dict[str, Any]
) -> None:
    url, state = start_gateway()

    def used(kind: str) -> float:
        labels = {"key_class": "anonymous", "kind": kind}
        return state.registry.get_sample_value("pandagpt_usage_tokens_total", labels) or 0

    with worker_thread(valkey.settings):
        for _ in range(2):  # the second one runs nothing
            assert httpx.post(f"{url}{path}", json=body, headers=KEY, timeout=20, trust_env=False).status_code == 200
        until = time.monotonic() + 20
        while used("completion") < 16:
            assert time.monotonic() < until, "the answer was not counted"
            time.sleep(0.02)
        time.sleep(0.2)  # no condition shows that nothing comes: a wrong charge would follow the repeat's end
        assert used("completion") == 16
        assert 1 <= used("prompt") <= 3


@pytest.mark.parametrize("headers", [{}, KEY], ids=["cancelled", "runs on"])
def test_an_answer_whose_client_leaves_is_charged(
    http: httpx.Client, valkey: Valkey, runtime: FakeRuntime, headers: dict[str, str]
) -> None:
    """The charge is for the computed tokens where leaving cancels it; for all where a repeat may read it."""
    runtime.step_delay = 0.05
    address = http.base_url
    leaver = HTTPConnection(address.host, address.port, timeout=30)
    kind = {"content-type": "application/json", "authorization": http.headers["authorization"]}
    leaver.request("POST", "/v1/chat/completions", json.dumps(BODY), kind | headers)
    until = time.monotonic() + 20
    while not any(valkey.client.xlen(key) > 5 for key in valkey.client.scan_iter("*:events:*")):
        assert time.monotonic() < until, "no answer began"
        time.sleep(0.01)
    leaver.close()
    assert spent_by_now(valkey, ANSWER - 10 if headers else 3)
