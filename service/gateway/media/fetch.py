"""Media from URLs: off unless hosts are named, and never a way into the inside network.

For each hop: the URL must be plain and its host on the list; the host is resolved once, every address it has must be
public or in a range that the operator names, and the connection goes to one of these very addresses, under the host's
name. There is no second look-up whose answer could differ. One deadline covers all downloads of a request, names
included; nothing is decompressed.
"""

import asyncio
import hashlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from service.gateway.errors import GatewayError
from service.gateway.media.sources import Content
from service.gateway.media.url_policy import Address, AddressPolicy, AllowList, Target, parse, public_or_in, unreachable
from service.settings import FetchSettings

log = logging.getLogger(__name__)
OK = 200
CLOSE_S = 0.1  # after the deadline, in which the client closes what it opened; then the work is cancelled
REDIRECTS = frozenset({301, 302, 303, 307, 308})
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """One answer. Only one of status 200 has its body; `location` is where another leads to."""

    status: int
    body: bytes = b""
    location: str = ""


class Fetcher:
    """Fetches for `Links`. `session` gives the opener of one request."""

    def __init__(
        self,
        settings: FetchSettings,
        max_bytes: int,
        *,
        allowed: AddressPolicy | None = None,
        resolve: Resolve | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._hosts = AllowList(settings.hosts)
        self._entries = settings.hosts
        self._timeout_s, self._max_redirects = settings.timeout_s, settings.max_redirects
        self._max_bytes = min(max_bytes, settings.max_bytes)
        self._allowed, self._resolve = allowed or public_or_in(settings.private_ranges), resolve or resolve_host
        self._transport = transport or direct_transport()
        self._slots = asyncio.Semaphore(settings.max_concurrent)

    def announce_unreachable(self) -> None:
        """One log line for each host of the list from which nothing can ever be fetched."""
        for entry in self._entries:
            if why := unreachable(entry, self._allowed):
                log.warning(
                    "media can never be fetched from a host of fetch.hosts", extra={"host": entry, "reason": why}
                )

    def session(self) -> Callable[[str], Awaitable[Content]]:
        """The opener for one request, whose downloads share one deadline."""
        deadline: float | None = None

        async def fetch(url: str) -> Content:
            nonlocal deadline
            deadline = deadline or asyncio.get_running_loop().time() + self._timeout_s
            try:
                async with asyncio.timeout_at(deadline + CLOSE_S), self._slots:
                    body = await self._follow(url, deadline)
            except (TimeoutError, httpx.TimeoutException):
                raise _failed(f"it took longer than the limit of {self._timeout_s:g} s") from None
            digest = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
            return Content(body, digest)

        return fetch

    async def _follow(self, url: str, deadline: float) -> bytes:
        target = self._checked(parse(url))
        for _ in range(self._max_redirects + 1):
            answer = await self._get(target, deadline)
            if answer.status not in REDIRECTS:
                break
            target = self._redirected(target, answer)
        else:
            raise _failed(f"it was redirected more often than the limit of {self._max_redirects}")
        if answer.status != OK:
            raise _failed(f"the server answered with status {answer.status}")
        return answer.body

    def _checked(self, target: Target) -> Target:
        if target not in self._hosts:
            raise GatewayError("invalid_request", "is on a host that media may not be fetched from here")
        return target

    def _redirected(self, target: Target, answer: Fetched) -> Target:
        here = f"{target.scheme}://{target.authority}{target.path}"
        try:
            found = self._checked(parse(urljoin(here, answer.location)))
        except (GatewayError, ValueError):
            raise _failed("it was redirected to where nothing may be fetched from") from None
        if target.scheme == "https" and found.scheme != "https":
            raise _failed("it was redirected from https to http")
        return found

    async def _get(self, target: Target, deadline: float) -> Fetched:
        async with asyncio.timeout_at(deadline):
            addresses = await self._addresses(target)
        for address in addresses:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            with _http_errors():
                try:
                    response = await self._transport.handle_async_request(_request(target, address, left))
                except httpx.ConnectError:  # refused, unreachable, or not the host's certificate
                    continue
                try:
                    return await self._read(response)
                finally:
                    await response.aclose()
        raise _unreachable()

    async def _read(self, response: httpx.Response) -> Fetched:
        if response.status_code != OK:
            return Fetched(response.status_code, location=response.headers.get("location", "").strip())
        self._check_head(response.headers)
        body = bytearray()
        async for piece in response.aiter_raw():
            if len(body) + len(piece) > self._max_bytes:
                raise _too_large(self._max_bytes)
            body += piece
        return Fetched(OK, bytes(body))

    def _check_head(self, headers: httpx.Headers) -> None:
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise GatewayError("invalid_media", "cannot be fetched: the answer is compressed.")
        declared = headers.get("content-length", "0").strip()
        if "content-length" in headers and "transfer-encoding" in headers:
            raise _failed("the answer is not sound HTTP")  # RFC 9112, section 6.3: an attempt at smuggling
        if declared.isdigit() and int(declared[:20]) > self._max_bytes:
            raise _too_large(self._max_bytes)

    async def _addresses(self, target: Target) -> Sequence[Address]:
        """The addresses to connect to, each of them checked; one that is forbidden spoils them all."""
        try:
            literal = target.literal
            found = [literal] if literal is not None else list(await self._resolve(target.host, target.port))
        except (OSError, UnicodeError):
            raise _unreachable() from None
        if not found or not all(map(self._allowed, found)):
            raise _unreachable()
        return found


async def resolve_host(host: str, port: int) -> Sequence[Address]:
    """All addresses of a host by the machine's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))


def direct_transport() -> httpx.AsyncHTTPTransport:
    """Connections to the address of the URL, one for each request; no proxy of the environment is used."""
    return httpx.AsyncHTTPTransport(
        verify=ssl.create_default_context(), trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
    )


@contextmanager
def _http_errors() -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException:
        raise
    except httpx.ProtocolError:
        raise _failed("the answer is not sound HTTP") from None
    except httpx.TransportError:
        raise _failed("the connection broke") from None


def _request(target: Target, address: Address, seconds: float) -> httpx.Request:
    """To the address, under the host's name: in the Host header, and for TLS in SNI and the certificate's check."""
    url = httpx.URL(scheme=target.scheme, host=str(address), port=target.port, raw_path=target.path.encode("ascii"))
    headers = {
        "Host": target.authority,
        "User-Agent": "pandagpt",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    extensions = {"sni_hostname": target.host, "timeout": httpx.Timeout(seconds).as_dict()}
    return httpx.Request("GET", url, headers=headers, extensions=extensions)


def _failed(why: str) -> GatewayError:
    return GatewayError("invalid_media", f"cannot be fetched: {why}.")


def _too_large(limit: int) -> GatewayError:
    return GatewayError("too_large", f"The medium is larger than the limit of {limit} bytes.")


def _unreachable() -> GatewayError:
    # The same message for a name that does not exist, one that leads inside and a server that is down: a caller must
    # not learn from it what is there.
    return _failed("its host cannot be reached from here")
