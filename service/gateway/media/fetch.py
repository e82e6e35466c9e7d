"""Media from URLs: off unless hosts are named, and never a way into the inside network.

For each hop: the URL must be plain and its host on the list; the host is resolved once, every address it has must be
public, and the connection goes to one of these very addresses, under the host's name. A second look-up, by which a name
could change its mind, does not happen. One deadline covers all of a request's downloads, names included.
"""

import asyncio
import hashlib
import ipaddress
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from urllib.parse import urljoin

from service.gateway.errors import GatewayError
from service.gateway.media.http_client import OK, HttpAnswer, exchange
from service.gateway.media.sources import Content
from service.gateway.media.url_policy import Address, AddressPolicy, AllowList, Target, is_public, parse
from service.settings import FetchSettings

REDIRECTS = frozenset({301, 302, 303, 307, 308})
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class Connect(Protocol):
    """Opens a connection to an address; `tls` is the name that the certificate must be for, None for plain HTTP."""

    async def __call__(self, address: Address, port: int, tls: str | None) -> tuple[StreamReader, StreamWriter]: ...


class Fetcher:
    """What `Links` fetches with. `session` gives the opener of one request."""

    def __init__(
        self,
        settings: FetchSettings,
        max_bytes: int,
        *,
        allowed: AddressPolicy = is_public,
        resolve: Resolve | None = None,
        connect: Connect | None = None,
    ) -> None:
        self._hosts = AllowList(settings.hosts)
        self._timeout_s, self._max_redirects = settings.timeout_s, settings.max_redirects
        self._max_bytes = min(max_bytes, settings.max_bytes)
        self._allowed, self._resolve, self._connect = allowed, resolve or resolve_host, connect or open_address
        self._slots = asyncio.Semaphore(settings.max_concurrent)

    def session(self) -> Callable[[str], Awaitable[Content]]:
        """The opener for one request, whose downloads share one deadline."""
        deadline: float | None = None

        async def fetch(url: str) -> Content:
            nonlocal deadline
            deadline = deadline or asyncio.get_running_loop().time() + self._timeout_s
            try:
                async with asyncio.timeout_at(deadline), self._slots:
                    body = await self._follow(url)
            except TimeoutError:
                raise _failed(f"it took longer than the limit of {self._timeout_s:g} s") from None
            digest = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
            return Content(body, digest)

        return fetch

    async def _follow(self, url: str) -> bytes:
        target = self._checked(parse(url))
        for _ in range(self._max_redirects + 1):
            answer = await self._get(target)
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

    def _redirected(self, target: Target, answer: HttpAnswer) -> Target:
        here, location = f"{target.scheme}://{target.authority}{target.path}", answer.headers.get(b"location", b"")
        try:
            found = self._checked(parse(urljoin(here, location.strip().decode("latin-1"))))
        except (GatewayError, ValueError):
            raise _failed("it was redirected to where nothing may be fetched from") from None
        if target.scheme == "https" and found.scheme != "https":
            raise _failed("it was redirected from https to http")
        return found

    async def _get(self, target: Target) -> HttpAnswer:
        reader, writer = await self._open(target, await self._addresses(target))
        try:
            return await exchange(reader, writer, target, self._max_bytes)
        except (OSError, EOFError):
            raise _failed("the connection broke") from None
        finally:
            writer.transport.abort()  # nobody waits for a farewell

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

    async def _open(self, target: Target, addresses: Sequence[Address]) -> tuple[StreamReader, StreamWriter]:
        tls = target.host if target.scheme == "https" else None
        for address in addresses:
            try:
                return await self._connect(address, target.port, tls)
            except OSError:  # refused, unreachable, or a certificate that is not the host's
                continue
        raise _unreachable()


async def resolve_host(host: str, port: int) -> Sequence[Address]:
    """All addresses of a host by the machine's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))


async def open_address(address: Address, port: int, tls: str | None) -> tuple[StreamReader, StreamWriter]:
    """A connection to that very address; no proxy of the environment is asked."""
    context = ssl.create_default_context() if tls else None
    return await asyncio.open_connection(str(address), port, ssl=context, server_hostname=tls)


def _failed(why: str) -> GatewayError:
    return GatewayError("invalid_media", f"cannot be fetched: {why}.")


def _unreachable() -> GatewayError:
    # The same words for a name that does not exist, one that leads inside and a server that is down: a caller must not
    # learn from us what is there.
    return _failed("its host cannot be reached from here")
