"""One reader, one client: silence, leaving, and taking nothing."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import pytest

from service.broker.client import Numbered
from service.broker.protocol import Done, Event, Started, Token
from service.gateway.relay import ClientGone, EventStream, Pace, Reader, unless_gone
from service.gateway.sse import Answer, ChunkFold, FrameFold

EVENTS: list[Event] = [Started(prompt_tokens=1), Token(choice=0, token_id=1, text="a", finish="stop"), Done()]


async def events(pause: float = 0.0, closed: list[bool] | None = None) -> AsyncGenerator[Numbered, None]:
    try:
        for number, event in enumerate(EVENTS, 1):
            await asyncio.sleep(pause)
            yield Numbered(number, event)
    finally:
        if closed is not None:
            closed.append(True)


async def talk(tokens: int | None = None) -> AsyncGenerator[Numbered, None]:
    """A long answer, as fast as it can be read; without a number, one that has no end."""
    yield Numbered(1, Started(prompt_tokens=1))
    number = 2
    while tokens is None or number < tokens + 2:
        yield Numbered(number, Token(choice=0, token_id=1, text="word"))
        number += 1
        await asyncio.sleep(0)
    yield Numbered(number, Done())


class Client:
    """An ASGI client: what it got, whether its request was given up, and ways to misbehave."""

    def __init__(self, *, takes: bool = True, leaves_after: float = 60.0, pause_s: float = 0.0) -> None:
        self.got = b""
        self.given_up = self.released = 0
        self.cut = False
        self._pause_s = pause_s
        self._takes, self._leaves_after = takes, leaves_after

    async def receive(self) -> dict[str, object]:
        if not self.cut:
            await asyncio.sleep(self._leaves_after)
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, object]) -> None:
        if not self._takes and message["type"] == "http.response.body":
            await asyncio.sleep(60)
        await asyncio.sleep(self._pause_s)
        self.got += message.get("body", b"")

    async def gone(self) -> None:
        self.given_up += 1

    async def read(self, source: AsyncGenerator[Numbered, None], pace: Pace | None = None) -> None:
        lease = AsyncExitStack()
        lease.callback(lambda: setattr(self, "released", self.released + 1))
        fold = FrameFold(ChunkFold(Answer(id="i", model="m", created=1)))
        stream = EventStream(Reader(source), [], fold, pace or Pace(60, 60), self.gone, lease, {})
        await stream({"type": "http", "state": {"cut": self._hang_up}}, self.receive, self.send)

    def _hang_up(self) -> None:
        self.cut = True


async def test_a_patient_client_gets_everything_and_nothing_is_given_up() -> None:
    client, closed = Client(), []
    await client.read(events(closed=closed))
    assert client.got.endswith(b"data: [DONE]\n\n")
    assert (client.given_up, client.released, closed) == (0, 1, [True])


async def test_silence_is_filled_with_comments_and_no_event_is_lost() -> None:
    client = Client()
    await client.read(events(pause=0.1), Pace(0.03, 60))
    assert client.got.count(b": keep-alive\n\n") >= 6
    assert client.got.count(b"\ndata: ") == 4


async def test_a_client_that_leaves_gives_its_request_up() -> None:
    client, closed = Client(leaves_after=0.05), []
    await client.read(events(pause=10, closed=closed))
    assert (client.given_up, client.released, closed) == (1, 1, [True])


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    client, closed = Client(takes=False), []
    await client.read(events(pause=0.1, closed=closed), Pace(60, 0.05))
    assert (client.given_up, client.released, closed) == (1, 1, [True])
    assert client.cut


async def test_a_client_that_falls_too_far_behind_is_cut_off() -> None:
    client = Client(takes=False)
    began = asyncio.get_running_loop().time()
    await client.read(talk(), Pace(60, 60, send_buffer_bytes=20_000))
    assert asyncio.get_running_loop().time() - began < 10
    assert (client.given_up, client.cut, client.got) == (1, True, b"")


async def test_a_client_that_only_pauses_gets_everything() -> None:
    client = Client(pause_s=0.2)
    await client.read(talk(200), Pace(60, 60, send_buffer_bytes=1 << 20))
    assert client.got.count(b"\ndata: ") == 200 + 2 + 1
    assert (client.given_up, client.cut) == (0, False)


async def test_work_is_stopped_when_the_client_leaves_first() -> None:
    stopped = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(True)

    with pytest.raises(ClientGone):
        await unless_gone(Client(leaves_after=0.01).receive, work())
    assert stopped == [True]


async def test_work_that_fails_fails_as_it_did() -> None:
    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await unless_gone(Client().receive, work())
