"""A connection: a head is bounded in size and time where its bytes arrive, and an early answer names the end."""

import asyncio
import json

import pytest

from tests.conftest import Valkey
from tests.gateway.running import running


async def answer(port: int, *parts: bytes, pause_s: float = 0.0) -> tuple[int, bytes]:
    """Send the parts, a pause before each but the first, until the server has answered; the status and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = asyncio.create_task(reader.read())
    for number, part in enumerate(parts):
        await asyncio.sleep(pause_s if number else 0)
        if answered.done():
            break
        writer.write(part)
    head, _, body = (await asyncio.wait_for(answered, 10)).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


GET = b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"


async def test_an_ordinary_request_is_answered(valkey: Valkey) -> None:
    async with running(valkey) as (_, port):
        assert await answer(port, GET + b"\r\n") == (200, b'{"status":"ok"}')


async def test_a_head_in_pieces_is_taken_while_it_has_time(valkey: Valkey) -> None:
    async with running(valkey) as (_, port):
        assert (await answer(port, GET[:9], GET[9:], b"\r\n", pause_s=0.1))[0] == 200


@pytest.mark.parametrize("sent", [(), (GET,), tuple(bytes([byte]) for byte in GET)])
async def test_a_head_that_never_ends_is_refused_in_time_however_it_drips(
    sent: tuple[bytes, ...], valkey: Valkey
) -> None:
    async with running(valkey) as (_, port):
        began = asyncio.get_running_loop().time()
        status, body = await answer(port, *sent, pause_s=0.3)  # byte by byte it would take 16 s
        assert status == 408
        assert json.loads(body)["error"]["code"] == "head_timeout"
        assert asyncio.get_running_loop().time() - began < 8


async def test_a_second_request_on_the_connection_has_the_same_deadline(valkey: Valkey) -> None:
    async with running(valkey) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.replace(b"connection: close\r\n", b"") + b"\r\n")
        assert b"200 OK" in await reader.readuntil(b'{"status":"ok"}')
        writer.write(GET)
        assert b"408" in await asyncio.wait_for(reader.read(), 30)
        writer.close()


@pytest.mark.parametrize("kind", ["one endless value", "many headers"])
async def test_a_large_head_is_refused_before_it_is_whole(kind: str, valkey: Valkey) -> None:
    header = b"x: " + b"a" * 100_000 if kind == "one endless value" else b"x: y\r\n" * 20_000
    async with running(valkey) as (_, port):
        status, body = await answer(port, GET, header, pause_s=0.05)
        assert status == 431
        assert json.loads(body)["error"]["code"] == "headers_too_large"


async def test_a_large_body_is_no_large_head(valkey: Valkey) -> None:
    async with running(valkey) as (_, port):
        body = b"x" * 50_000
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        size = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        status, answered = await answer(port, head + size + body[:9], body[9:], pause_s=0.05)
        assert status == 400
        assert json.loads(answered)["error"]["code"] == "invalid_request"


async def test_an_answer_before_the_end_of_the_body_says_that_the_connection_ends(valkey: Valkey) -> None:
    """A client that keeps connections would send its next request into one that is about to close."""
    async with running(valkey, max_body_bytes=1000) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for head, last in ((b"GET /health/live", False), (b"POST /v1/chat/completions", True)):
            length = b"content-length: 1001\r\n" if last else b""
            writer.write(head + b" HTTP/1.1\r\nhost: x\r\n" + length + b"\r\n")
            said = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            assert (b"\r\nconnection: close\r\n" in said) is last
            if not last:
                await reader.readuntil(b"}")
        await asyncio.wait_for(reader.read(), 30)  # the body, and then the end
        writer.close()
