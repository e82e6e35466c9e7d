"""One reader, one client: silence, leaving, and taking nothing."""

import asyncio
import re
from contextlib import AsyncExitStack

import pytest

from service.broker.errors import Draining
from service.broker.protocol import Done, Event, Started, Token
from service.gateway.observation import Observation
from service.gateway.streaming.chunks import ChunkFold, FrameFold, ResponseMetadata
from service.gateway.streaming.event_stream import (
    ClientDisconnected,
    Events,
    EventStream,
    StreamTimeouts,
    until_disconnect,
    watch_connection,
)

EVENTS: list[Event] = [Started(prompt_tokens=1), Token(choice=0, token_id=1, text="a", finish="stop"), Done()]


async def events(pause: float = 0.0, closed: list[bool] | None = None, quiet: int = 0) -> Events:
    """One after the other, after `quiet` times of silence each."""
    try:
        for event in EVENTS:
            for _ in range(quiet):
                yield []
            await asyncio.sleep(pause)
            yield [event]
    finally:
        if closed is not None:
            closed.append(True)


async def talk(tokens: int | None = None) -> Events:
    """A long answer, as fast as it can be read; without a number, one that has no end."""
    yield [Started(prompt_tokens=1)]
    made = 0
    while tokens is None or made < tokens:
        made += 1
        yield [Token(choice=0, token_id=1, text="word")]
        await asyncio.sleep(0)
    yield [Done()]


class Client:
    """An ASGI client: its received bytes, whether its request was given up, and ways to misbehave."""

    def __init__(self, *, takes: bool = True, leaves_after: float = 60.0, pause_s: float = 0.0) -> None:
        self.got = b""
        self.given_up = self.handed_over = self.released = 0
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

    def gone(self) -> None:
        self.given_up += 1

    async def hand_over(self) -> None:
        self.handed_over += 1

    async def read(
        self,
        source: Events,
        pace: StreamTimeouts | None = None,
        leaving: asyncio.Event | None = None,
        first: list[Event] | None = None,
    ) -> None:
        lease = AsyncExitStack()
        lease.callback(lambda: setattr(self, "released", self.released + 1))
        fold = FrameFold(ChunkFold(ResponseMetadata(id="i", model="m", created=1)))
        pace, leaving = pace or StreamTimeouts(60, 60), leaving or asyncio.Event()
        stream = EventStream(
            source, None, first, fold, pace, self.gone, self.hand_over, lease, {}, leaving, Observation()
        )
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
    await client.read(events(quiet=2))
    assert client.got.count(b": keep-alive\n") == 6
    assert client.got.count(b"\ndata: ") == 4


async def test_a_head_that_silence_brought_has_a_comment_at_once() -> None:
    client = Client()
    await client.read(events(), first=[])
    assert client.got.startswith(b": keep-alive\nid: 0\n")


async def test_a_client_that_leaves_gives_its_request_up() -> None:
    client, closed = Client(leaves_after=0.05), []
    await client.read(events(pause=10, closed=closed))
    assert (client.given_up, client.released, closed) == (1, 1, [True])


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    client, closed = Client(takes=False), []
    await client.read(events(pause=0.1, closed=closed), StreamTimeouts(60, 0.05))
    assert (client.given_up, client.released, closed) == (1, 1, [True])
    assert client.cut


async def test_a_client_that_falls_too_far_behind_is_cut_off() -> None:
    client = Client(takes=False)
    began = asyncio.get_running_loop().time()
    await client.read(talk(), StreamTimeouts(60, 60, send_buffer_bytes=20_000))
    assert asyncio.get_running_loop().time() - began < 10
    assert (client.given_up, client.cut, client.got) == (1, True, b"")


async def test_a_client_that_only_pauses_gets_everything() -> None:
    client = Client(pause_s=0.2)
    await client.read(talk(200), StreamTimeouts(60, 60, send_buffer_bytes=1 << 20))
    assert client.got.count(b"\ndata: ") == 200 + 2 + 1
    assert (client.given_up, client.cut) == (0, False)


async def test_an_answer_out_of_time_ends_with_words_and_is_handed_over() -> None:
    client, leaving = Client(), asyncio.Event()

    async def unfinished() -> Events:
        yield EVENTS[:2]
        leaving.set()
        await asyncio.sleep(60)

    await client.read(unfinished(), leaving=leaving)
    assert re.findall(rb"id: (\d+)\n", client.got) == [b"0", b"1", b"2"]  # the role, the token, its end
    assert re.search(rb'\n\ndata: \{"error":.*"code":"draining"\}\}\n\ndata: \[DONE\]\n\n$', client.got)
    assert b"GET /v1/requests/i/events with Last-Event-ID" in client.got
    assert (client.given_up, client.handed_over, client.released, client.cut) == (0, 1, 1, False)


async def test_work_is_stopped_when_the_gateway_leaves() -> None:
    leaving = asyncio.Event()
    leaving.set()
    with pytest.raises(Draining):
        async with watch_connection(Client().receive) as gone:
            await until_disconnect(gone, asyncio.sleep(60), leaving)


async def test_work_is_stopped_when_the_client_leaves_first() -> None:
    stopped = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(True)

    with pytest.raises(ClientDisconnected):
        async with watch_connection(Client(leaves_after=0.01).receive) as gone:
            await until_disconnect(gone, work())
    assert stopped == [True]


async def test_a_client_that_leaves_is_reported_before_anything_is_waited_for() -> None:
    """Also where the work takes its time to stop, or ends all the same: a cancellation may be lost on its way."""
    order: list[str] = []

    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            order.append("stopped")
        return "a result"

    with pytest.raises(ClientDisconnected):
        async with watch_connection(Client(leaves_after=0.01).receive) as gone:
            await until_disconnect(gone, stubborn(), on_gone=lambda: order.append("gone"), late=order.append)
    assert order == ["gone", "stopped", "a result"]


async def test_a_client_that_leaves_while_a_gateway_that_leaves_stops_is_let_go_of() -> None:
    """By `on_gone`, or by whoever gets Draining: nobody would cancel its request."""
    leaving, calls = asyncio.Event(), list[str]()
    leaving.set()
    client = Client(leaves_after=0.01)

    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.wait([gone])

    async with watch_connection(client.receive) as gone:
        try:
            await until_disconnect(gone, stubborn(), leaving, on_gone=lambda: calls.append("gone"))
        except Draining:
            calls.append("draining")
        except ClientDisconnected:
            pass
    assert len(calls) == 1


async def test_work_that_fails_fails_as_it_did() -> None:
    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        async with watch_connection(Client().receive) as gone:
            await until_disconnect(gone, work())
