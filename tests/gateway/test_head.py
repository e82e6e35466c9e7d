"""HEAD wherever GET is: the same status and headers, and no body."""

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from fastapi.routing import APIRoute

from service.broker.keys import Keys
from service.gateway.routes import routers
from service.settings import Settings
from tests.fakes import worker_thread
from tests.gateway.conftest import make_settings, serving
from tests.gateway.pointing import Pointing, picture
from tests.ports import free_port

# Made anew for each answer, or, as the server frames a body, of no use to an answer without one.
OWN = {"date", "x-request-id", "transfer-encoding"}
GROWING = {"/metrics"}  # one more line between two looks
GUIDE = "/docs/guide/{path:path}"  # built by `make docs`; without it a 404
GETS = sorted(
    route.path
    for router in routers(with_ollama=True)
    for route in router.routes
    if isinstance(route, APIRoute) and "GET" in route.methods
)
POSTS = sorted(
    {
        route.path
        for router in routers()
        for route in router.routes
        if isinstance(route, APIRoute) and "POST" in route.methods
    }
)


@pytest.fixture(scope="module")
def whole(_valkey_server: Any) -> Iterator[httpx.Client]:
    """Of a gateway with every endpoint, before a model that gives places in pictures."""
    with (
        serving(make_settings(_valkey_server, ollama=True)) as (url, _),
        worker_thread(_valkey_server.settings, Pointing(), lost_after_s=15.0),
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def names(whole: httpx.Client) -> dict[str, str]:
    """Values of path parameters that lead to something."""

    def made(path: str, **sent: Any) -> Any:
        answer = whole.post(path, **sent)
        assert answer.status_code == 200, answer.text
        return answer.json()

    said = {"model": "pointing", "max_tokens": 2}
    fields = {"model": "pointing", "prompt": "the dog", "task": "detection", "annotate": "true"}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {**said, "prompt": "Hi"}}
    lines = made("/v1/files", files={"file": ("a.jsonl", json.dumps(line).encode())}, data={"purpose": "batch"})
    asked = {"input_file_id": lines["id"], "endpoint": "/v1/completions", "completion_window": "24h"}
    batch = made("/v1/batches", json=asked)["id"]
    until = time.monotonic() + 60
    while whole.get(f"/v1/batches/{batch}").json()["status"] not in ("completed", "failed"):
        assert time.monotonic() < until, "the batch did not end"
        time.sleep(0.05)
    return {
        "request_id": made("/v1/generate", data=fields, files={"image": ("a.png", picture())})["id"],
        "response_id": made("/v1/responses", json={"model": "pointing", "input": "Hi"})["id"],
        "file_id": lines["id"],
        "batch_id": batch,
        "model": "pointing",
        "name": "dog.png",
        "path": "index.html",
    }


def headers(answer: httpx.Response, path: str) -> dict[str, str]:
    own = OWN | ({"content-length"} if path in GROWING else set())
    return {name: value for name, value in answer.headers.items() if name not in own}


def received(sender: socket.socket) -> bytes:
    return b"".join(iter(lambda: sender.recv(65536), b""))


@pytest.mark.parametrize("stream", ["/v1/requests/{}/events", "/v1/responses/{}?stream=true"])
def test_the_head_of_a_stream_makes_no_reader(
    steady_http: httpx.Client,
    gateway_settings: Settings,
    stream: str,
) -> None:
    """A reader who never leaves would keep the request from being cancelled when the others leave."""
    answer = steady_http.post("/v1/responses", json={"input": "Hi", "max_output_tokens": 2}).json()
    request = answer["id"].replace("_", "-", 1)
    path = stream.format(answer["id"] if "responses" in stream else request)
    record = Keys().record(request)

    def readers() -> list[Any]:
        with redis.Redis.from_url(gateway_settings.store.required_url()) as store:
            return list(store.hmget(record, "readers", "attached"))

    before = readers()
    assert before != [None, None]
    assert steady_http.head(path).status_code == 200
    assert readers() == before
    assert steady_http.get(path).status_code == 200
    assert readers() != before


@pytest.mark.parametrize("path", GETS)
def test_head_has_the_status_and_headers_of_get_and_no_body(
    path: str, whole: httpx.Client, names: dict[str, str]
) -> None:
    for given in (names, dict.fromkeys(names, "nothing-of-this-name")):
        url = re.sub(r"\{(\w+)(?::\w+)?\}", lambda found, given=given: given[found[1]], path)
        got, head = whole.get(url), whole.head(url)
        assert head.status_code == got.status_code
        assert got.status_code < 400 or given is not names or path == GUIDE, got.text
        assert headers(head, path) == headers(got, path)
        assert head.content == b""


def test_nothing_follows_the_end_of_a_heads_headers(whole: httpx.Client, names: dict[str, str]) -> None:
    address = urlsplit(str(whole.base_url))
    for path in ("/health/live", f"/v1/requests/{names['request_id']}/events", f"/v1/files/{names['file_id']}/content"):
        with socket.create_connection((address.hostname, address.port), timeout=20) as sender:
            sender.sendall(f"HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            said = received(sender)
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert said.partition(b"\r\n\r\n")[2] == b""


@pytest.mark.parametrize("path", [path for path in POSTS if "{" not in path])
def test_the_methods_allowed_name_head_where_get_is(path: str, steady_http: httpx.Client) -> None:
    refused = steady_http.patch(path)
    assert refused.status_code == 405
    allowed = refused.headers["allow"].split(", ")
    assert ("HEAD" in allowed) is ("GET" in allowed) is (path in GETS)
    assert "POST" in allowed
    assert (steady_http.head(path).status_code == 405) is (path not in GETS)


def test_a_head_is_counted_under_its_route(steady_http: httpx.Client) -> None:
    assert steady_http.head("/v1/models/fake").status_code == 200
    assert 'pandagpt_http_requests_total{endpoint="/v1/models/{' in steady_http.get("/metrics").text


def test_the_port_of_metrics_answers_head_too(gateway_settings: Settings) -> None:
    port = free_port()
    ours = gateway_settings.gateway.model_copy(update={"admin_port": port})
    with serving(gateway_settings.model_copy(update={"gateway": ours})), httpx.Client(trust_env=False) as client:
        got, head = (client.request(method, f"http://127.0.0.1:{port}/metrics") for method in ("GET", "HEAD"))
        assert head.status_code == got.status_code == 200
        assert headers(head, "/metrics") == headers(got, "/metrics")
        assert (len(head.content), "content-length" in head.headers) == (0, True)
