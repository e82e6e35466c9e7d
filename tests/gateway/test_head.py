"""HEAD wherever GET is: the same status and headers, and no body."""

import re
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from fastapi.routing import APIRoute

from service.broker.keys import Keys
from service.gateway.routes import routers
from service.settings import Settings

# Made anew for each answer, or, as the server frames a body, of no use to an answer without one.
OWN = {"date", "x-request-id", "transfer-encoding"}
GROWING = {"/metrics"}  # one more line between two looks
GETS = sorted(
    route.path
    for router in routers()
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
def names(steady_http: httpx.Client) -> dict[str, str]:
    """Values of path parameters that lead to something."""
    said = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    answer = steady_http.post("/v1/chat/completions", json=said).json()
    kept = steady_http.post("/v1/files", files={"file": ("a.txt", b"words")}, data={"purpose": "user_data"}).json()
    return {
        "request_id": answer["id"],
        "file_id": kept["id"],
        "model": "fake",
        "model_id": "fake",
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
    path: str, steady_http: httpx.Client, names: dict[str, str]
) -> None:
    for given in (names, dict.fromkeys(names, "nothing-of-this-name")):
        url = re.sub(r"\{(\w+)(?::\w+)?\}", lambda found, given=given: given.get(found[1], "none"), path)
        got, head = steady_http.get(url), steady_http.head(url)
        assert head.status_code == got.status_code
        assert headers(head, path) == headers(got, path)
        assert head.content == b""


def test_nothing_follows_the_end_of_a_heads_headers(steady_http: httpx.Client, names: dict[str, str]) -> None:
    address = urlsplit(str(steady_http.base_url))
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
