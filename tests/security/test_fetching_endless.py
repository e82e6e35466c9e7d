"""Threat: endless or slow download (TGI CVE-2026-0599).

Measures: a byte cap on what really comes, a total deadline, exact framing, nothing decompressed; and what was fetched
goes the same way as an upload.
"""

import asyncio
import base64
import functools
import gzip
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from pandagpt_core.media import samples
from service.gateway.errors import GatewayError
from service.gateway.media.fetch import Fetcher
from service.gateway.state import GatewayState
from service.settings import FetchSettings
from tests.fakes import FakeRuntime
from tests.security.origin import Page, origin, page

CAP = 100_000
HEAD = b"HTTP/1.1 200 OK\r\n"


def local(port: int, **settings: float) -> Fetcher:
    """A fetcher that may reach loopback, which no setting allows."""
    given = FetchSettings(hosts=(f"127.0.0.1:{port}",), **{"timeout_s": 1.0, "max_bytes": CAP, **settings})
    return Fetcher(given, 1 << 20, allowed=lambda _address: True)


async def fetched(raw: Page, **settings: float) -> bytes | tuple[str, str]:
    """The body, or code and message of the refusal."""
    async with origin({"/x": raw}) as server:
        try:
            return (await local(server.port, **settings).session()(f"http://127.0.0.1:{server.port}/x")).data
        except GatewayError as error:
            return error.code, error.message


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"\r\n")
    while True:
        writer.write(bytes(10_000))
        await writer.drain()


async def endless_chunks(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"2710\r\n" + bytes(10_000) + b"\r\n")
        await writer.drain()


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD)
    while True:
        writer.write(b"x: " + b"y" * 1000 + b"\r\n")
        await writer.drain()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"content-length: 1000\r\n\r\n")
    for _ in range(1000):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize("script", [endless, endless_chunks, page(b"", length=10**18), page(bytes(CAP + 1))])
async def test_more_than_the_cap_is_too_large_whatever_was_declared(script: Page) -> None:
    result = await fetched(script)
    assert result[0] == "too_large"
    assert str(CAP) in result[1]


async def test_a_medium_of_exactly_the_cap_is_taken() -> None:
    assert await fetched(page(bytes(CAP))) == bytes(CAP)


@pytest.mark.parametrize("script", [drip, silent])
async def test_slowness_ends_at_the_total_deadline(script: Page) -> None:
    began = time.monotonic()
    result = await fetched(script, timeout_s=0.4)
    assert result[0] == "invalid_media"
    assert "0.4 s" in result[1]
    assert time.monotonic() - began < 10  # of the 30 and 50 seconds that they would take


async def test_all_downloads_of_a_request_share_one_deadline() -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.0)
        writer.write(page(b"got"))

    async with origin({"/x": slow}) as server:
        fetch = local(server.port, timeout_s=1.9).session()
        url = f"http://127.0.0.1:{server.port}/x"
        assert (await fetch(url)).data == b"got"
        with pytest.raises(GatewayError):
            await fetch(url)


@pytest.mark.parametrize(
    "raw",
    [
        page(b"short", length=1000),
        HEAD + b"content-length: 3\r\ncontent-length: 5\r\n\r\nabcde",
        HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\nabc",
        HEAD + b"content-length: 99999999999999999999999999\r\n\r\nabc",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc",
        HEAD + b"no colon\r\n\r\n",
        b"not HTTP at all\r\n\r\n",
        b"",
        HEAD[:10],
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\n\r\n",
        page(b"", status="204 No Content"),
        page(b"part", status="206 Partial Content"),
    ],
)
async def test_lying_and_broken_answers_are_refused(raw: bytes) -> None:
    code, message = await fetched(raw)
    assert code == "invalid_media"
    assert "0x" not in message


async def test_bytes_beyond_the_declared_length_are_not_taken() -> None:
    assert await fetched(page(b"longer than that", length=3)) == b"lon"


async def test_an_endless_head_is_refused() -> None:
    assert (await fetched(endless_head))[0] == "invalid_media"


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "x"])
async def test_a_compressed_answer_is_refused_and_never_unpacked(coding: str) -> None:
    bomb = gzip.compress(bytes(20 << 20))
    assert len(bomb) < CAP
    code, message = await fetched(page(bomb, f"content-encoding: {coding}"))
    assert (code, "compressed" in message) == ("invalid_media", True)


# Over HTTP

PART = "messages[0].content[0].image_url.url"


def ask(http: httpx.Client, *links: str) -> httpx.Response:
    content = [{"type": "image_url", "image_url": {"url": link}} for link in links]
    return http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": content}], "max_tokens": 3})


@pytest.mark.parametrize("link", ["http://good.example/x.png", "HTTPS://127.0.0.1/x.png", "http://169.254.169.254/"])
def test_fetching_is_off_unless_hosts_are_named_and_says_so(http: httpx.Client, link: str) -> None:
    answer = ask(http, link)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", PART)
    assert "Fetching URLs is off" in error["message"]
    assert http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Hi"}]}).status_code == 200


@pytest.fixture
def fetching(http: httpx.Client, shared_gateway: tuple[str, GatewayState], tmp_path: Path) -> Iterator[str]:
    """The shared gateway, allowed to fetch from one loopback server in a thread."""
    (tmp_path / "dog.png").write_bytes(samples.picture("PNG"))
    (tmp_path / "text.png").write_bytes(b"no picture")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    state = shared_gateway[1]
    state.fetcher = local(server.server_port)
    yield f"http://127.0.0.1:{server.server_port}"
    state.fetcher = None
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_a_fetched_picture_is_answered_like_an_uploaded_one(
    http: httpx.Client, fetching: str, runtime: FakeRuntime
) -> None:
    inline = ask(http, f"data:image/png;base64,{base64.b64encode(samples.picture('PNG')).decode()}")
    answer = ask(http, f"{fetching}/dog.png")
    assert answer.status_code == 200, answer.text
    tag = answer.json()["choices"][0]["message"]["content"].partition(">")[0]
    assert inline.json()["choices"][0]["message"]["content"].startswith(tag)
    assert sum(runtime.encoded.values()) == 1, "the same bytes under the same name"


@pytest.mark.parametrize("path", ["text.png", "nowhere.png"])
def test_what_cannot_be_used_is_a_400_that_names_the_part(http: httpx.Client, fetching: str, path: str) -> None:
    answer = ask(http, f"{fetching}/{path}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_media", PART)
    assert "127.0.0.1" not in answer.text
    assert path not in answer.text


def test_another_host_is_refused_though_fetching_is_on(http: httpx.Client, fetching: str) -> None:
    assert ask(http, "http://169.254.169.254/x").json()["error"]["code"] == "invalid_request"


def test_one_requests_media_are_bounded_together(
    http: httpx.Client, fetching: str, shared_gateway: tuple[str, GatewayState]
) -> None:
    state = shared_gateway[1]
    before = state.form_limits
    state.form_limits = replace(before, max_total_bytes=3 * len(samples.picture("PNG")))
    try:
        assert ask(http, *[f"{fetching}/dog.png"] * 3).status_code == 200
        answer = ask(http, *[f"{fetching}/dog.png"] * 4)
    finally:
        state.form_limits = before
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
