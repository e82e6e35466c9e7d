"""The streaming client: events from bytes in any cut, the servers' dialects, real sockets, failures."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator

import pytest

from benchmarks.contestants.servers import run_of
from benchmarks.lib.contestant import RunFailed
from benchmarks.lib.sse import Answer, EventParser, Request, encoded, stream_all

STREAM = (
    b'id: 1\r\ndata: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\r\n\r\n'
    b': keep-alive\ndata: {"choices": [{"delta": {"content": "Hi"}}]}\n\n'
    b'data: {"choices": [{"delta": {"content": " there"}}]}\n\n'
    b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}\n\ndata: [DONE]\n\n'
)
Serve = Callable[[list[bytes]], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server on a loopback port that answers every request with the given pieces, then closes."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    servers: list[asyncio.Server] = []

    def start(pieces: list[bytes]) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
            await reader.readexactly(length)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        async def listen() -> asyncio.Server:
            return await asyncio.start_server(answer, "127.0.0.1", 0)

        servers.append(asyncio.run_coroutine_threadsafe(listen(), loop).result(5))
        return int(servers[-1].sockets[0].getsockname()[1])

    yield start
    for server in servers:
        loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def chunked(data: bytes, size: int = 50) -> list[bytes]:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return [b"%x\r\n%b\r\n" % (len(part), part) for part in parts] + [b"0\r\n\r\n"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_are_the_same_however_the_bytes_are_cut(size: int) -> None:
    parser = EventParser()
    events = [event for at in range(0, len(STREAM), size) for event in parser.feed(STREAM[at : at + size])]
    assert len(events) == 5
    assert json.loads(events[1])["choices"][0]["delta"]["content"] == "Hi"
    assert events[-1] == "[DONE]"


def test_data_lines_of_one_event_are_joined() -> None:
    assert EventParser().feed(b"data: a\ndata: b\n\n") == ["a\nb"]


def test_only_events_with_text_are_chunks_and_the_server_counts_tokens() -> None:
    answer, parser = Answer(), EventParser()
    for at, event in enumerate(parser.feed(STREAM)):
        answer.take(event, float(at))
    assert answer.chunks == [1.0, 2.0]
    assert (answer.text, answer.tokens, answer.prompt_tokens) == ("Hi there", 3, 7)


def test_completions_and_llama_cpp_are_read_too() -> None:
    answer = Answer()
    answer.take('{"choices": [{"text": "a"}]}', 1.0)
    answer.take('{"content": "b", "stop": false}', 2.0)
    assert (answer.text, answer.tokens) == ("ab", 2)
    answer.take('{"content": "", "stop": true, "tokens_predicted": 2, "tokens_evaluated": 9}', 3.0)
    assert (answer.tokens, answer.prompt_tokens) == (2, 9)


@pytest.mark.parametrize(
    ("head", "cut"),
    [(b"Transfer-Encoding: chunked", chunked), (b"Connection: close", lambda data: [data[:30], data[30:]])],
)
def test_answers_come_through_a_socket(serve: Serve, head: bytes, cut: Callable[[bytes], list[bytes]]) -> None:
    port = serve([b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", *cut(STREAM)])
    answers = stream_all([Request(port, "/x", {"n": n}) for n in range(3)])
    assert [(answer.text, answer.tokens, answer.error) for answer in answers] == [("Hi there", 3, None)] * 3
    run = run_of(answers)
    assert run.tokens == (3, 3, 3)
    assert run.prompt_tokens == 7
    assert all(0 < times[0] <= times[1] for times in run.arrivals)


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([b"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n", b"full"], "status 503: full"),
        ([b'HTTP/1.1 200 OK\r\n\r\ndata: {"error": {"code": "x"}}\n\n'], '{"code": "x"}'),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"], "2 bytes read"),
        ([b"HTTP/1.1 200 OK\r\n\r\n"], "an empty answer"),
        ([], "closed without an answer"),
    ],
)
def test_an_answer_that_fails_is_a_failed_run(serve: Serve, pieces: list[bytes], said: str) -> None:
    answers = stream_all([Request(serve(pieces), "/x", {})])
    with pytest.raises(RunFailed, match=said):
        run_of(answers)


def test_a_server_that_is_not_there_is_an_error_of_the_answer() -> None:
    (answer,) = stream_all([Request(1, "/x", {})])
    assert answer.error


def test_a_request_is_plain_http() -> None:
    head, body = encoded(Request(80, "/v1/x", {"a": 1})).split(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/x HTTP/1.1\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert json.loads(body) == {"a": 1}
