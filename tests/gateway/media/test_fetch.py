"""One fetch, over a transport that only records. Hostile servers are tested in tests/security."""

import asyncio
import ipaddress
import logging
from collections.abc import Sequence

import httpx
import pytest

from service.gateway.app import create_app
from service.gateway.errors import GatewayError
from service.gateway.media.fetch import Fetcher
from service.gateway.media.url_policy import Address
from service.settings import FetchSettings, Settings

FIRST, SECOND = ipaddress.ip_address("93.184.215.14"), ipaddress.ip_address("93.184.215.15")


class Recorder(httpx.AsyncBaseTransport):
    """Answers from a list, an exception among them is raised; keeps the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def both(_host: str, _port: int) -> Sequence[Address]:
    return [FIRST, SECOND]


def fetcher(transport: Recorder) -> Fetcher:
    return Fetcher(FetchSettings(hosts=("good.example",)), 1000, resolve=both, transport=transport)


async def test_a_request_goes_to_the_address_under_the_hosts_name() -> None:
    transport = Recorder(httpx.Response(200, stream=httpx.ByteStream(b"got")))
    content = await fetcher(transport).session()("https://good.example/a?b=c")
    assert content.data == b"got"
    (request,) = transport.requests
    assert (request.url.host, request.url.port, request.url.raw_path) == (str(FIRST), None, b"/a?b=c")
    assert request.headers["host"] == "good.example"
    assert request.headers["accept-encoding"] == "identity"
    assert request.extensions["sni_hostname"] == "good.example"


async def test_the_next_address_is_tried_where_one_refuses() -> None:
    transport = Recorder(httpx.ConnectError("refused"), httpx.Response(200, stream=httpx.ByteStream(b"got")))
    assert (await fetcher(transport).session()("http://good.example/")).data == b"got"
    assert [request.url.host for request in transport.requests] == [str(FIRST), str(SECOND)]


async def test_an_address_is_not_asked_again_after_a_broken_answer() -> None:
    transport = Recorder(httpx.ReadError("reset"))
    with pytest.raises(GatewayError, match="the connection broke"):
        await fetcher(transport).session()("http://good.example/")
    assert len(transport.requests) == 1


async def test_no_cookie_of_one_answer_goes_with_the_next_request() -> None:
    moved = httpx.Response(302, headers={"location": "/b", "set-cookie": "secret=1"})
    transport = Recorder(moved, httpx.Response(200, stream=httpx.ByteStream(b"got")))
    await fetcher(transport).session()("http://good.example/a")
    assert [request.url.raw_path for request in transport.requests] == [b"/a", b"/b"]
    assert "cookie" not in transport.requests[1].headers


def at_start(caplog: pytest.LogCaptureFixture, **fetch: object) -> list[str]:
    """The hosts that a gateway which starts with these settings names in its log."""
    given = Settings(store={"url": "redis://127.0.0.1:1"}, fetch=fetch, decode={"processes": 1})
    app = create_app(given)

    async def started() -> None:
        async with app.router.lifespan_context(app):
            pass

    with caplog.at_level(logging.WARNING):
        asyncio.run(started())
    return [record.host for record in caplog.records if "never be fetched" in record.message]


def test_a_gateway_names_the_hosts_that_it_can_never_fetch_from_at_its_start(caplog: pytest.LogCaptureFixture) -> None:
    assert at_start(caplog, hosts=("10.1.2.3:9000", "a.example", "localhost")) == ["10.1.2.3:9000", "localhost"]


def test_a_gateway_names_no_host_that_its_ranges_allow(caplog: pytest.LogCaptureFixture) -> None:
    assert at_start(caplog, hosts=("10.1.2.3:9000",), private_ranges=("10.1.2.0/24",)) == []
