"""One streaming client for all servers: a request over a plain socket, its events with the time each came.

Not an HTTP library's client: at a few hundred events a second their cost would be a share of what is measured.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DONE = "[DONE]"
LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Request:
    """One POST of a JSON body to a loopback server."""

    port: int
    path: str
    body: Mapping[str, Any]


@dataclass(slots=True)
class Answer:
    """An answer of a server. `chunks` are seconds from the start to every event that carried text.

    `tokens` and `prompt_tokens` are the server's own count; where it gives none, tokens are the chunks.
    """

    chunks: list[float] = field(default_factory=list)
    text: str = ""
    counted: int | None = None
    prompt_tokens: int | None = None
    error: str | None = None

    @property
    def tokens(self) -> int:
        return len(self.chunks) if self.counted is None else self.counted

    def take(self, data: str, at: float) -> None:
        """Fold one event's data: an OpenAI chunk of either kind, or llama.cpp's own."""
        if data == DONE:
            return
        event = json.loads(data)
        if "error" in event:
            self.error = json.dumps(event["error"])
            return
        text = text_of(event)
        if text:
            self.chunks.append(at)
            self.text += text
        usage = event.get("usage") or {}
        self.counted = usage.get("completion_tokens", event.get("tokens_predicted") or self.counted)
        self.prompt_tokens = usage.get("prompt_tokens", event.get("tokens_evaluated") or self.prompt_tokens)


def text_of(event: Mapping[str, Any]) -> str:
    """`choices[0].delta.content` (chat), `choices[0].text` (completions) or `content` (llama.cpp)."""
    choices = event.get("choices")
    if choices is None:
        return str(event.get("content") or "")
    first = choices[0] if choices else {}
    return str((first.get("delta") or {}).get("content") or first.get("text") or "")


class EventParser:
    """Bytes in, the `data` of whole events out; comments and other fields are dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[str]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" ").decode())
            elif not line and self._data:
                events.append("\n".join(self._data))
                self._data = []
        return events


def stream_all(requests: Sequence[Request]) -> list[Answer]:
    """Send all at once and read each to its end; times count from one common start."""
    return asyncio.run(_all(requests))


async def stream_one(request: Request) -> tuple[Answer, float]:
    """Send it and read it to its end, counting from now; and the seconds to its end."""
    start = time.perf_counter()
    return await _one(request, start), time.perf_counter() - start


async def _all(requests: Sequence[Request]) -> list[Answer]:
    start = time.perf_counter()
    return list(await asyncio.gather(*(_one(request, start) for request in requests)))


async def _one(request: Request, start: float) -> Answer:
    answer, parser = Answer(), EventParser()
    try:
        async with asyncio.timeout(LIMIT_S):
            async for data in _body(request):
                at = time.perf_counter() - start
                for event in parser.feed(data):
                    answer.take(event, at)
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        answer.error = str(error) or type(error).__name__
    return answer


async def _body(request: Request) -> AsyncIterator[bytes]:
    """The body of the answer as it comes. Raises ValueError for a status that is not 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", request.port, limit=2**20)
    try:
        writer.write(encoded(request))
        await writer.drain()
        _, _, rest = (await reader.readline()).partition(b" ")
        if not rest:
            raise ValueError("the server closed without an answer")
        status = int(rest[:3])
        headers = {}
        while line := (await reader.readline()).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip().lower()
        parts = _chunks(reader) if headers.get("transfer-encoding") == "chunked" else _until_eof(reader)
        if status != 200:
            said = b"".join([part async for part in parts])
            raise ValueError(f"status {status}: {said[:300].decode(errors='replace')}")
        async for part in parts:
            yield part
    finally:
        writer.close()


def encoded(request: Request) -> bytes:
    body = json.dumps(request.body).encode()
    head = (
        f"POST {request.path} HTTP/1.1\r\nHost: 127.0.0.1:{request.port}\r\nContent-Type: application/json\r\n"
        f"Accept: text/event-stream\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readline()).split(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]


async def _until_eof(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while data := await reader.read(2**16):
        yield data
