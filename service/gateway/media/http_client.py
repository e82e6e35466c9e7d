"""One HTTP/1.1 exchange over a connection that is already open: bounded in every direction, nothing decompressed."""

from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from dataclasses import dataclass

import httptools

from service.gateway.errors import GatewayError
from service.gateway.media.url_policy import Target

MAX_HEAD_BYTES = 32 << 10
PIECE = 64 << 10
OK = 200


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came. Only an answer of status 200 has its body."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


async def exchange(reader: StreamReader, writer: StreamWriter, target: Target, max_bytes: int) -> HttpAnswer:
    """GET the target. Raises `too_large`, and `invalid_media` for what is not an answer. The caller bounds the time."""
    writer.write(
        f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: pandagpt\r\nAccept: */*\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n".encode("ascii")
    )
    await writer.drain()
    incoming = _Incoming(max_bytes)
    parser = httptools.HttpResponseParser(incoming)
    while not incoming.done:
        piece = await reader.read(PIECE)
        if not piece:
            break
        try:
            parser.feed_data(piece)
        except httptools.HttpParserError:
            raise incoming.refusal or broken() from None
        incoming.count_head(len(piece))
        if incoming.head_done and parser.get_status_code() != OK:
            return HttpAnswer(parser.get_status_code(), incoming.headers, b"")
    if not incoming.whole:
        raise broken()
    return HttpAnswer(OK, incoming.headers, bytes(incoming.body))


class _Incoming:
    """Receives the parser's callbacks. `refusal` is what to tell the caller where one of them stopped the parser."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._head_bytes = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.head_done = self.done = False
        self.refusal: GatewayError | None = None

    @property
    def whole(self) -> bool:
        """Whether the body ended as its framing said; without a length it ends with the connection."""
        framed = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        return self.done or (self.head_done and not framed)

    def on_message_begin(self) -> None:
        if self.done:
            self._refuse(broken())  # more than the length that was declared

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.head_done = True
        declared = self.headers.get(b"content-length", b"0").strip()
        if self.headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            self._refuse(GatewayError("invalid_media", "cannot be fetched: the answer is compressed."))
        if not declared.isdigit() or int(declared[:20]) > self._max_bytes:
            self._refuse(_too_large(self._max_bytes))

    def on_body(self, piece: bytes) -> None:
        if len(self.body) + len(piece) > self._max_bytes:
            self._refuse(_too_large(self._max_bytes))
        self.body += piece

    def on_message_complete(self) -> None:
        self.done = True

    def count_head(self, size: int) -> None:
        self._head_bytes += 0 if self.head_done else size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise broken()

    def _refuse(self, error: GatewayError) -> None:
        self.refusal = error
        raise error


def broken() -> GatewayError:
    return GatewayError("invalid_media", "cannot be fetched: the answer is not sound HTTP.")


def _too_large(limit: int) -> GatewayError:
    return GatewayError("too_large", f"The medium is larger than the limit of {limit} bytes.")
