"""Threat: slowloris; a reader that stops reading.

Measures: deadlines of head and body; the send buffer is bounded, a reader that takes nothing is cut off, its request
cancelled and what it held freed.
"""

import asyncio
import json
import time
from dataclasses import dataclass

import httpx
import pytest

from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.security.beside import resident, running, send
from tests.security.neighbours import ask, picture

BODY = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 24, "stream": True}).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
SLOW = {
    "nothing": [],
    "a head byte by byte": [bytes([byte]) for byte in HEAD],
    "header after header": [b"GET / HTTP/1.1\r\n", *[b"x: y\r\n"] * 500],
    "a body byte by byte": [HEAD % len(BODY), *[bytes([byte]) for byte in BODY]],
    "a body that stops": [HEAD % len(BODY), BODY[:10]],
    "a chunk byte by byte": [
        (HEAD % 0).replace(b"content-length: 0", b"transfer-encoding: chunked"),
        *[b"1\r\nx\r\n"] * 500,
    ],
    "a form byte by byte": [
        (HEAD % 5000).replace(b"application/json", b"multipart/form-data; boundary=b"),
        *[b"-"] * 500,
    ],
}


async def test_whoever_sends_slowly_is_cut_off_in_time_and_neighbours_survive(valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        async with running(valkey, header_timeout_s=0.8, body_timeout_s=0.8, max_header_bytes=32_768) as (_, port):
            began = time.monotonic()
            slow = [send(port, pieces, pause_s=0.05) for pieces in SLOW.values() for _ in range(4)]
            answers, beside = await asyncio.gather(asyncio.gather(*slow), asyncio.to_thread(several, port, 5))
            assert time.monotonic() - began < 20  # of the 25 that they would take
            assert beside == [200] * 5
            # A form that is broken from its first byte on is refused before its time is up.
            assert {answer.split()[1] for answer in answers} == {b"408", b"400"}
            assert sum(answer.split()[1] == b"408" for answer in answers) >= 4 * (len(SLOW) - 1)


def several(port: int, count: int) -> list[int]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
        return [ask(client, picture(number)).status_code for number in range(count)]


@dataclass
class Wordy(FakeRuntime):
    """Every token is 200 KB of text: more than any socket's buffers hold."""

    @staticmethod
    def _next(sequence: object) -> tuple[int, str, str | None]:
        token, text, finish = FakeRuntime._next(sequence)
        return token, text + "x" * 200_000, finish


async def test_a_reader_that_stops_reading_is_cut_off_and_its_request_cancelled(valkey: Valkey) -> None:
    runtime = Wordy(step_delay=0.02)
    with worker_thread(valkey.settings, runtime):
        async with running(
            valkey, header_timeout_s=5.0, max_header_bytes=32_768, send_timeout_s=0.5, keep_alive_s=0.1
        ) as (made, port):
            state, before = made._app.state.gateway, resident()
            body = json.dumps({**json.loads(BODY), "n": 8}).encode()
            readers = [await asyncio.open_connection("127.0.0.1", port, limit=1024) for _ in range(4)]
            for _, writer in readers:
                writer.write(HEAD % len(body) + body)
            for reader, _ in readers:
                assert b"200 OK" in await reader.readline()  # and from here on nothing is read
            async with asyncio.timeout(20):
                while len(runtime.aborted) < 4 * 8 or made.server_state.tasks:
                    await asyncio.sleep(0.02)
            assert state.registry.get_sample_value("pandagpt_http_requests_in_progress") == 0
            assert await asyncio.to_thread(several, port, 1) == [200]
            for _, writer in readers:
                writer.transport.abort()
            assert resident() - before < 150 << 20, "four times 38 MB of answer were not kept"


@pytest.mark.parametrize("stream", [True, False])
async def test_whoever_leaves_takes_the_request_along(valkey: Valkey, stream: bool) -> None:
    runtime = FakeRuntime(step_delay=0.05)
    with worker_thread(valkey.settings, runtime):
        async with running(valkey, header_timeout_s=5.0, max_header_bytes=32_768) as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps({**json.loads(BODY), "stream": stream}).encode()
            writer.write(HEAD % len(body) + body)
            async with asyncio.timeout(10):
                while not runtime.has_work:
                    await asyncio.sleep(0.01)
                writer.transport.abort()
                while runtime.has_work:
                    await asyncio.sleep(0.01)
            assert len(runtime.aborted) == 1
