"""Threat: a small JSON body of very many values holds the event loop; a doubled key passes a check and changes after.

Measures: structure is counted outside of strings while the bytes arrive; a body whose objects name a key twice is
refused. A line of a batch is such a body. The loop is measured by its processor time.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from service.gateway.inference.batches.lines import MAX_LINE_BYTES
from service.gateway.inference.parsing.json_body import MAX_STRUCTURE
from tests.conftest import Valkey
from tests.fakes import worker_thread
from tests.security.beside import HELD_S, Watch, least_held, running, send, watched

MESSAGES = [{"role": "user", "content": "x"}]
FLOODS = {
    "unknown keys": {"messages": MESSAGES, **{f"k{number}": 1 for number in range(199_000)}},
    "a few less": {"messages": MESSAGES, **{f"k{number}": 1 for number in range(29_000)}},
    "empty lists": {"messages": MESSAGES, "x": [[] for _ in range(130_000)]},
    "messages": {"messages": MESSAGES * 60_000},
    "parts": {"messages": [{"role": "user", "content": [{"type": "nonsense"}] * 9_000}]},
    "objects": {"messages": MESSAGES, "metadata": {f"k{number}": {"a": 1} for number in range(14_000)}},
    "one long text": {"messages": [{"role": "user", "content": "," * 3_000_000}]},
}


def request(body: bytes, path: bytes = b"/v1/chat/completions", version: bytes = b"1.1", extra: bytes = b"") -> bytes:
    head = b"POST " + path + b" HTTP/" + version + b"\r\nHost: x\r\nContent-Type: application/json\r\n" + extra
    return head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/embeddings"])
async def test_no_json_body_holds_the_loop(valkey: Valkey, path: bytes) -> None:
    requests = {what: request(json.dumps(body).encode(), path) for what, body in FLOODS.items()}

    async def all_sent() -> Watch:
        async with running(valkey, header_timeout_s=10.0) as (_, port), watched() as watch:
            for what, sent in requests.items():
                answer = await send(port, [sent])
                assert answer.split()[1][:1] in (b"2", b"4"), what
            return watch

    with worker_thread(valkey.settings):
        watch = await least_held(all_sent)
    assert watch.stall < HELD_S, watch.staller


def chat(content: str, fields: str = "") -> str:
    return "{" + fields + '"messages": [{"role": "user", "content": ' + content + "}]}"


def text(letters: str) -> str:
    return f'"{letters}"'


def picture(base64: str) -> str:
    return '[{"type": "image_url", "image_url": {"url": "data:image/png;base64,' + base64 + '"}}]'


def alone(field: str, letters: str) -> str:
    return "{" + f'"{field}": {text(letters)}' + "}"


MB = 1_000_000
CHAT = "/v1/chat/completions"
LARGE: dict[str, tuple[str, Callable[[], str], str]] = {  # path, body, the first digit of its status
    "wide letters": (CHAT, lambda: chat(text("é" * 20 * MB)), "4"),
    "wide letters and escapes": (CHAT, lambda: chat(text("é" * 10 * MB + "\\n" * 400_000)), "4"),
    "white space": (CHAT, lambda: " " * 60 * MB + chat(text("x")), "2"),
    "an unknown key": (CHAT, lambda: chat(text("x"), f'"x": {text("é" * 11 * MB)}, '), "2"),
    "a picture": (CHAT, lambda: chat(picture("A" * 60 * MB)), "4"),
    "one prompt": ("/tokenize", lambda: alone("prompt", "x" * 60 * MB), "4"),
    "one input": ("/v1/embeddings", lambda: alone("input", "x" * 60 * MB), "4"),
    "a response's input": ("/v1/responses", lambda: alone("input", "x" * 60 * MB), "4"),
}


@pytest.mark.parametrize("what", LARGE)
async def test_no_large_json_body_holds_the_loop(valkey: Valkey, what: str) -> None:
    path, body, status = LARGE[what]
    sent = request(body().encode(), path.encode())

    async def all_sent() -> Watch:
        async with running(valkey, header_timeout_s=10.0) as (_, port), watched() as watch:
            answer = await asyncio.to_thread(lambda: asyncio.run(send(port, [sent])))
            assert answer.split()[1][:1] == status.encode(), answer[:500]
            return watch

    with worker_thread(valkey.settings):
        watch = await least_held(all_sent)
    assert watch.stall < HELD_S, watch.staller


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"messages": [{"role": "user", "content": "x"}], "max_tokens": 2, "max_tokens": 3}', 400),
        ('{"messages": [{"role": "user", "role": "user", "content": "x"}]}', 400),
        ('{"messages": [{"role": "user", "content": "\\"a\\": 1, \\"a\\": 2"}], "max_tokens": 2}', 200),
        ('{"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "x"}], "max_tokens": 2}', 200),
    ],
)
async def test_a_key_that_comes_twice_in_an_object_is_refused(valkey: Valkey, body: str, status: int) -> None:
    with worker_thread(valkey.settings):
        async with running(valkey) as (_, port):
            answer = await send(port, [request(body.encode())])
    assert int(answer.split()[1]) == status


async def test_no_line_of_a_batch_holds_the_loop_or_doubles_a_key(valkey: Valkey) -> None:
    keys = {f"k{number}": 1 for number in range(MAX_LINE_BYTES // 14)}
    floods = {**FLOODS, "a whole line": {"messages": MESSAGES, **keys}}
    twice = '{"messages": [{"role": "user", "content": "x"}], "max_tokens": 2, "max_tokens": 3}'
    with worker_thread(valkey.settings):
        async with running(valkey, header_timeout_s=10.0) as (_, port), watched() as watch:
            answers = await asyncio.to_thread(in_batch, port, [*map(json.dumps, floods.values()), twice])
            assert watch.stall < HELD_S, watch.staller
    found = dict(zip([*floods, "twice"], answers, strict=True))
    for what in ("unknown keys", "messages", "a whole line"):
        assert found[what]["status_code"] == 413
        assert f"the limit is {MAX_STRUCTURE}" in found[what]["body"]["error"]["message"]
    assert found["twice"]["status_code"] == 400
    assert "names a key of an object twice" in found["twice"]["body"]["error"]["message"]


def in_batch(port: int, bodies: Sequence[str]) -> list[dict[str, Any]]:
    """The responses to the bodies as lines of one batch, in their order."""
    url = "/v1/chat/completions"
    lines = [f'{{"custom_id": "{at}", "url": "{url}", "body": {body}}}\n' for at, body in enumerate(bodies)]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=60, trust_env=False) as client:
        sent = client.post("/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", "".join(lines).encode())})
        fields = {"input_file_id": sent.json()["id"], "endpoint": url, "completion_window": "24h"}
        batch = client.post("/batches", json=fields).json()
        until = time.monotonic() + 120
        while batch["status"] not in ("completed", "failed"):
            assert time.monotonic() < until, batch
            time.sleep(0.2)
            batch = client.get(f"/batches/{batch['id']}").json()
        assert batch["status"] == "completed", batch
        files = [file for file in (batch["output_file_id"], batch["error_file_id"]) if file]
        texts = [client.get(f"/files/{file}/content").text for file in files]
    results = [json.loads(line) for text in texts for line in text.splitlines()]
    return [one["response"] for one in sorted(results, key=lambda one: int(one["custom_id"]))]


@pytest.mark.parametrize(("escape", "status"), [("\\/", 400), ("\\n", 413)])
async def test_escapes_cost_the_parser_time_and_are_bounded(valkey: Valkey, escape: str, status: int) -> None:
    body = '{"messages": [{"role": "user", "content": 1, "x": "' + escape * 1_200_000 + '"}]}'
    with worker_thread(valkey.settings):
        async with running(valkey) as (_, port):
            answer = await send(port, [request(body.encode())])
    assert int(answer.split()[1]) == status


# HTTP as it is written


BODY = json.dumps({"messages": MESSAGES, "max_tokens": 3, "stream": True}).encode()


async def test_a_caller_of_http_1_0_gets_no_chunks_and_the_connections_end(valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        async with running(valkey) as (_, port):
            head, _, stream = (await send(port, [request(BODY, version=b"1.0")])).partition(b"\r\n\r\n")
            whole = await send(port, [request(BODY.replace(b"true", b"false"), version=b"1.0")])
            status = await send(port, [b"GET /health/live HTTP/1.0\r\n\r\n"])
    assert b"transfer-encoding" not in head.lower()
    assert b"\ndata: {" in stream
    assert stream.endswith(b"data: [DONE]\n\n")
    assert json.loads(whole.partition(b"\r\n\r\n")[2])["object"] == "chat.completion"
    assert b"200" in status.splitlines()[0]


async def test_a_doubled_host_is_refused(valkey: Valkey) -> None:
    async with running(valkey) as (_, port):
        answer = await send(port, [b"GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n"])
    assert int(answer.split()[1]) == 400
    assert b"more than one Host" in answer


@pytest.mark.parametrize(("version", "status"), [(b"1.1", 400), (b"1.0", 200)])
async def test_a_head_of_http_1_1_without_a_host_is_refused(valkey: Valkey, version: bytes, status: int) -> None:
    async with running(valkey) as (_, port):
        answer = await send(port, [b"GET /health/live HTTP/" + version + b"\r\nConnection: close\r\n\r\n"])
    assert int(answer.split()[1]) == status


@pytest.mark.parametrize(("coding", "named"), [(b"gzip", b"(gzip)"), (b"br", b"(br)"), (b"<script>", b"(unknown)")])
async def test_a_content_encoding_is_refused_by_name(valkey: Valkey, coding: bytes, named: bytes) -> None:
    async with running(valkey) as (_, port):
        answer = await send(port, [request(BODY, extra=b"Content-Encoding: " + coding + b"\r\n")])
    assert int(answer.split()[1]) == 400
    assert named in answer


@pytest.mark.parametrize(
    "kind",
    [
        b"application/json; charset=utf-16",
        b"application/json; charset=latin-1",
        b"application/json; charset*=utf-8''latin-1",
        b"multipart/form-data; boundary=b; charset=utf-16",
    ],
)
async def test_a_charset_other_than_utf_8_is_refused(valkey: Valkey, kind: bytes) -> None:
    async with running(valkey) as (_, port):
        answer = await send(port, [request(BODY).replace(b"application/json", kind)])
    assert int(answer.split()[1]) == 400
    assert b"charset" in answer


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"deflate,chunked"])
async def test_a_transfer_encoding_beside_chunks_is_refused(valkey: Valkey, coding: bytes) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    async with running(valkey) as (_, port):
        answer = await send(port, [head + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + chunks])
    assert int(answer.split()[1]) == 400
    assert b"transfer-encoding" in answer
