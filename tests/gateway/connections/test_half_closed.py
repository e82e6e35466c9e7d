"""Clients that end their sending side after the request, and clients that end all."""

import asyncio
import json
import socket
from typing import Any

import pytest

from service.broker.keys import Keys
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.gateway.gated import Gated
from tests.gateway.running import running

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Tell me"}], "seed": 3, "max_tokens": 20}
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


def request(body: dict[str, Any], version: str = "1.1") -> bytes:
    payload = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/{version}\r\nhost: x\r\ncontent-length: {len(payload)}\r\n\r\n"
    return head.encode() + payload


def whole(port: int, *sent: bytes) -> bytes:
    """All bytes until the server ends the connection, after our side was ended."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sender:
        sender.sendall(b"".join(sent))
        sender.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sender.recv(65536), b""))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_half_closed_client_gets_its_whole_answer(version: str, stream: bool, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.02), lost_after_s=60.0):
        async with running(valkey, keep_alive_s=0.1) as (_, port):
            said = await asyncio.to_thread(whole, port, request({**BODY, "stream": stream}, version))
    head, _, body = said.removeprefix(INTERIM).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close" in head
    assert (b"data: [DONE]\n\n" in body) if stream else json.loads(body)["usage"]["completion_tokens"] == 20
    if stream and version == "1.1":
        assert body.endswith(b"0\r\n\r\n")


async def test_each_of_several_requests_on_a_half_closed_connection_is_answered(valkey: Valkey) -> None:
    live = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    async with running(valkey) as (_, port):
        said = await asyncio.to_thread(whole, port, live * 3)
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 3


async def test_half_a_request_gets_no_answer_however_it_ends(valkey: Valkey) -> None:
    async with running(valkey) as (_, port):
        assert await asyncio.to_thread(whole, port, b"GET /health/live HTTP/1.1\r\nhost") == b""
        assert await asyncio.to_thread(whole, port, request(BODY)[:-1]) == b""


@pytest.mark.parametrize("half_first", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_ends_all_is_noticed_though_no_event_comes(
    half_first: bool, stream: bool, valkey: Valkey
) -> None:
    """The worker is in the middle of a step, so nothing but the probe is sent."""
    runtime, cancels = Gated(), Keys().cancels("fake")
    with worker_thread(valkey.settings, runtime, lost_after_s=60.0):
        async with running(valkey, keep_alive_s=3600.0, disconnect_grace_s=0.0) as (_, port):
            sender = socket.create_connection(("127.0.0.1", port), timeout=60)
            sender.sendall(request({**BODY, "stream": stream}))
            assert await asyncio.to_thread(runtime.stepping.wait, 60)
            if half_first:
                sender.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(sender.recv, 1, socket.MSG_PEEK) == b"H"
            sender.close()
            async with asyncio.timeout(30):
                while not valkey.client.xlen(cancels):
                    await asyncio.sleep(0.01)
            runtime.gate.set()
