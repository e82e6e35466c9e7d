"""Threat: a media URL reached the inside network (vLLM GHSA-3f6c-7fw2-ppm4, CVE-2026-24779; LMDeploy CVE-2026-33626).

Measures: fetching is off unless configured; a URL of one narrow form; a host on the list; resolved once; every address
public; the connection goes to a checked address. Every connection is recorded, so "not one packet" is counted.
"""

import asyncio
import ipaddress
from collections.abc import Sequence

import httpx
import pytest

from service.gateway.errors import GatewayError
from service.gateway.media.fetch import Fetcher, direct_transport, resolve_host
from service.gateway.media.url_policy import Address
from service.settings import FetchSettings
from tests.security.origin import Origin, moved, origin, page

PUBLIC = ipaddress.ip_address("93.184.215.14")


class Outside(httpx.AsyncBaseTransport):
    """A resolver by table and a transport that records addresses and leads them all to one loopback server."""

    def __init__(self, server: Origin | None = None, **names: Sequence[str]) -> None:
        self._server, self._names = server, {name.replace("_", "."): found for name, found in names.items()}
        self.asked: list[str] = []
        self.connected: list[tuple[str, int, str | None]] = []
        self._direct = direct_transport()

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        if host not in self._names:
            return await resolve_host(host, port)  # as the machine would: numbers and the hosts file need no network
        return [ipaddress.ip_address(address) for address in self._names[host]]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        tls = request.extensions["sni_hostname"] if request.url.scheme == "https" else None
        port = request.url.port or {"http": 80, "https": 443}[request.url.scheme]
        self.connected.append((request.url.host, port, tls))
        if self._server is None:
            raise httpx.ConnectError("nobody there")
        url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._server.port)
        timeout = {"timeout": request.extensions["timeout"]}
        led = httpx.Request(request.method, url, headers=request.headers.raw, extensions=timeout)
        return await self._direct.handle_async_request(led)

    def fetcher(self, *hosts: str, **settings: float) -> Fetcher:
        given = FetchSettings(hosts=hosts or ("*",), **{"timeout_s": 3.0, **settings})
        return Fetcher(given, 1 << 20, resolve=self.resolve, transport=self)


async def refused(fetcher: Fetcher, url: str) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await fetcher.session()(url)
    assert caught.value.row.status in (400, 413)
    return caught.value


FORBIDDEN = [
    "http://127.0.0.1/x",
    "http://127.8.9.10/x",
    "http://0.0.0.0/x",
    "http://10.0.0.1/x",
    "http://172.16.0.1/x",
    "http://192.168.1.1/x",
    "http://100.64.0.1/x",
    "http://100.100.100.200/latest/meta-data",
    "http://169.254.169.254/latest/meta-data/",
    "http://168.63.129.16/machine",
    "http://192.0.0.192/opc/v1",
    "http://192.88.99.1/x",
    "http://198.18.0.1/x",
    "http://224.0.0.1/x",
    "http://240.0.0.1/x",
    "http://255.255.255.255/x",
    "http://[::1]/x",
    "http://[::]/x",
    "http://[::ffff:127.0.0.1]/x",
    "http://[::ffff:7f00:1]/x",
    "http://[::ffff:169.254.169.254]/x",
    "http://[::ffff:8.8.8.8]/x",
    "http://[::127.0.0.1]/x",
    "http://[64:ff9b::7f00:1]/x",
    "http://[64:ff9b:1::7f00:1]/x",
    "http://[2002:7f00:1::]/x",
    "http://[2001:0:4136:e378::1]/x",
    "http://[2001:db8::1]/x",
    "http://[fe80::1]/x",
    "http://[fc00::1]/x",
    "http://[fd00:ec2::254]/x",
    "http://[fec0::1]/x",
    "http://[ff02::1]/x",
    "http://localhost/x",
    "http://2130706433/x",
    "http://0177.0.0.1/x",
    "http://0x7f.0.0.1/x",
    "http://0x7f000001/x",
    "http://127.1/x",
    "http://127.0.0.1./x",
    "http://017700000001/x",
    "http://good.example\\@127.0.0.1/x",
    "http://good.example\\@good.example/x",
    "http://user@good.example/x",
    "http://good.example:80@127.0.0.1/x",
    "http://user:pass@good.example/x",
    "http://good.example#@127.0.0.1/x",
    "http://good.example%2f@127.0.0.1/x",
    "http://good.example\t/x",
    "http://good.example\r\nx: y/x",
    "http://good.example/x\r\nHost: 127.0.0.1",
    "http://good.example/x y",
    "http:///x",
    "http://good.example:0/x",
    "http://good.example:99999/x",
    "http://good.example:+80/x",
    "http://good..example/x",
    "http://-good.example/x",
    "http://①②⑦.0.0.1/x",
    "http://ｇood.example/x",
    "http://good。example/x",
    "http://[fe80::1%25eth0]/x",
    "http://[::1/x",
    "http:good.example/x",
    "http:/good.example/x",
    "file:///etc/passwd",
    "ftp://good.example/x",
    "gopher://good.example/x",
    "unix:///run/x.sock",
    "dict://good.example:11211/stats",
    "http+unix://%2Frun%2Fx.sock/x",
    "//good.example/x",
    "http://good.example/" + "x" * 5000,
]


@pytest.mark.parametrize("url", FORBIDDEN)
async def test_not_one_packet_goes_to_a_forbidden_address(url: str) -> None:
    outside = Outside(good_example=["127.0.0.1"])
    error = await refused(outside.fetcher(), url)
    assert outside.connected == []
    assert "127" not in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["::1"], ["93.184.215.14", "10.0.0.1"], ["169.254.169.254"], []])
async def test_a_name_that_leads_inside_is_not_connected_to_by_any_of_its_answers(answers: list[str]) -> None:
    outside = Outside(good_example=answers)
    error = await refused(outside.fetcher("good.example"), "http://good.example/x")
    assert error.code == "invalid_media"
    assert outside.connected == []


async def test_a_name_that_changes_is_resolved_once_and_its_first_answer_used() -> None:
    async with origin({"/x": page(b"medium")}) as server:
        outside = Outside(server)
        answers = iter([[PUBLIC], [ipaddress.ip_address("127.0.0.1")]])

        async def rebinding(host: str, port: int) -> Sequence[Address]:
            outside.asked.append(host)
            return next(answers)

        fetcher = Fetcher(FetchSettings(hosts=("*",)), 1 << 20, resolve=rebinding, transport=outside)
        assert (await fetcher.session()("http://good.example/x")).data == b"medium"
    assert outside.asked == ["good.example"]
    assert outside.connected == [(str(PUBLIC), 80, None)]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/x",
        "http://inside.example/x",
        "http://other.example/x",
        "http://good.example:22/x",
        "//169.254.169.254/x",
        "http://[::1]/",
        "http://[",
        "file:///etc/passwd",
        "gopher://good.example/",
        "http://user@good.example/x",
        "",
    ],
)
async def test_a_redirect_is_checked_as_the_first_url_was(location: str) -> None:
    async with origin({"/x": moved(location)}) as server:
        public = [str(PUBLIC)]
        outside = Outside(server, good_example=public, other_example=public, inside_example=["10.1.2.3"])
        error = await refused(
            outside.fetcher("good.example", "inside.example", "127.0.0.1", "169.254.169.254"), "http://good.example/x"
        )
    assert error.code == "invalid_media"
    assert set(outside.connected) == {(str(PUBLIC), 80, None)}
    assert len(outside.connected) == (4 if location == "" else 1), "an empty one leads to itself"


async def test_redirects_are_followed_where_they_may_be_and_not_for_ever() -> None:
    pages = {"/a": moved("/b", "301 Moved"), "/b": moved("http://www.good.example/c", "307 Moved"), "/c": page(b"got")}
    async with origin({**pages, "/loop": moved("/loop")}) as server:
        outside = Outside(server, good_example=[str(PUBLIC)], www_good_example=[str(PUBLIC)])
        fetch = outside.fetcher("good.example", "*.good.example").session()
        assert (await fetch("http://good.example/a")).data == b"got"
        outside.connected.clear()
        assert "3" in (await refused(outside.fetcher(), "http://good.example/loop")).message
        assert len(outside.connected) == 4


async def test_https_never_falls_back_to_http() -> None:
    async with origin({"/x": moved("http://good.example/y"), "/y": page(b"got")}) as server:
        outside = Outside(server, good_example=[str(PUBLIC)])
        await refused(outside.fetcher(), "https://good.example/x")
    assert outside.connected == [(str(PUBLIC), 443, "good.example")]


async def test_the_connection_is_to_the_address_under_the_hosts_name() -> None:
    async with origin({"/a?b=c": page(b"got")}) as server:
        outside = Outside(server, good_example=[str(PUBLIC)])
        blob = await outside.fetcher("good.example:8443").session()("HTTPS://Good.Example:8443/a?b=c#part")
        head = server.seen[0]
    assert blob.data == b"got"
    assert outside.connected == [(str(PUBLIC), 8443, "good.example")]
    assert head.startswith("GET /a?b=c HTTP/1.1\r\nHost: good.example:8443\r\n")
    assert "cookie" not in head.lower()
    assert "authorization" not in head.lower()


async def test_a_certificate_of_another_name_is_no_connection(tmp_path) -> None:
    """The real connector checks certificates: a plain server is no TLS server, so nothing is sent to it."""
    async with origin({"/x": page(b"got")}) as server:
        settings = FetchSettings(hosts=(f"127.0.0.1:{server.port}",), timeout_s=2.0)
        fetcher = Fetcher(settings, 1 << 20, allowed=lambda _address: True)
        await refused(fetcher, f"https://127.0.0.1:{server.port}/x")
        assert server.seen == []
        assert (await fetcher.session()(f"http://127.0.0.1:{server.port}/x")).data == b"got"


async def test_loopback_itself_sees_nobody_through_the_real_resolver_and_connector() -> None:
    async with origin({"/x": page(b"got")}) as server:
        hosts = tuple(f"{host}:{server.port}" for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"))
        fetcher = Fetcher(FetchSettings(hosts=hosts), 1 << 20)
        for host in hosts:
            assert (await refused(fetcher, f"http://{host}/x")).code == "invalid_media"
        assert server.seen == []


async def test_a_private_store_is_reached_within_the_operators_ranges_only() -> None:
    async with origin({"/x": page(b"got")}) as server:
        hosts = tuple(f"{host}:{server.port}" for host in ("127.0.0.1", "127.0.0.2", "localhost"))
        settings = FetchSettings(hosts=hosts, private_ranges=("127.0.0.1/32",), timeout_s=2.0)
        fetcher = Fetcher(settings, 1 << 20)
        assert (await fetcher.session()(f"http://127.0.0.1:{server.port}/x")).data == b"got"
        assert len(server.seen) == 1
        await refused(fetcher, f"http://127.0.0.2:{server.port}/x")
        assert len(server.seen) == 1


async def test_a_name_with_one_address_outside_the_ranges_is_not_reached() -> None:
    outside = Outside(store_example=["10.1.2.3", "10.1.3.3"])
    settings = FetchSettings(hosts=("store.example",), private_ranges=("10.1.2.0/24",), timeout_s=2.0)
    await refused(Fetcher(settings, 1 << 20, resolve=outside.resolve, transport=outside), "http://store.example/x")
    assert outside.connected == []


async def test_resolving_has_the_same_deadline() -> None:
    async def never(host: str, port: int) -> Sequence[Address]:
        await asyncio.sleep(60)
        raise AssertionError

    fetcher = Fetcher(FetchSettings(hosts=("*",), timeout_s=0.1), 1 << 20, resolve=never)
    assert "0.1 s" in (await refused(fetcher, "http://good.example/x")).message
