"""Streams read byte by byte from the socket, as a client without any library would."""

import json
import re
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from service.broker.connection import connect
from service.broker.keys import Keys
from service.broker.protocol import Failed, encode
from service.gateway.state import GatewayState
from service.settings import StoreSettings
from tests.contract import made
from tests.contract.conftest import SeeingRuntime, running, settings_for

BODY: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Tell me"}],
    "max_tokens": 4,
    "seed": 3,
    "stream": True,
    "stream_options": {"include_event_ids": True},
}
USAGE = {"stream_options": {"include_usage": True, "include_event_ids": True}}
EVENT = rb"id: (\d+)\ndata: ([^\n]*)\n\n"


def exchange(url: str, payload: bytes, path: str = "/v1/chat/completions", kind: str = "application/json") -> bytes:
    """The server's bytes, to the connection's end."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\n"
        connection.sendall(f"{head}content-length: {len(payload)}\r\n\r\n".encode() + payload)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def stream(url: str, **fields: Any) -> tuple[bytes, bytes]:
    """The head, and the body with the chunks of HTTP/1.1 joined."""
    head, _, rest = exchange(url, json.dumps({**BODY, **fields}).encode()).partition(b"\r\n\r\n")
    assert b"\r\ntransfer-encoding: chunked" in head.lower()
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            assert rest == b"\r\n", "something follows the end"
            return head, body
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


def events(body: bytes) -> list[tuple[int, Any]]:
    """The numbered events; anything between them that is no comment is an error."""
    rest = body.replace(b": keep-alive\n", b"")
    found = re.findall(EVENT, rest)
    assert b"".join(b"id: %b\ndata: %b\n\n" % pair for pair in found) == rest, (
        "bytes that are neither event nor comment"
    )
    return [(int(number), data.decode() if data == b"[DONE]" else json.loads(data)) for number, data in found]


def test_a_streams_head_is_that_of_server_sent_events(url: str) -> None:
    head, _ = stream(url)
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "http/1.1 200 ok"
    assert {"content-type: text/event-stream; charset=utf-8", "cache-control: no-cache", "x-accel-buffering: no"} <= {
        *lines
    }


def test_a_stream_is_these_bytes_and_no_others(url: str) -> None:
    whole = httpx.post(f"{url}/v1/chat/completions", json={**BODY, "stream": False}, timeout=20).json()
    _, body = stream(url)
    first = json.loads(re.findall(EVENT, body)[0][1])
    envelope = f'"id":"{first["id"]}","object":"chat.completion.chunk","created":{first["created"]},"model":"fake"'
    assert re.fullmatch("fp_[0-9a-f]{10}", whole["system_fingerprint"])
    envelope += f',"system_fingerprint":"{whole["system_fingerprint"]}"'

    def chunk(delta: str, finish: str = "null") -> str:
        choice = f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}'
        return f'{{{envelope},"choices":[{choice}]}}'

    words = re.findall(r" w\d+", whole["choices"][0]["message"]["content"])
    told = [chunk('{"role":"assistant","content":""}'), *(chunk(f'{{"content":"{word}"}}') for word in words)]
    told += [chunk("{}", '"length"'), "[DONE]"]
    assert body.decode() == "".join(f"id: {number}\ndata: {data}\n\n" for number, data in enumerate(told))


def test_every_event_has_an_id_that_grows_by_one(url: str) -> None:
    _, body = stream(url, n=3, **USAGE)
    assert [number for number, _ in events(body)] == list(range(len(events(body))))


def test_the_first_delta_of_each_choice_has_the_role(url: str) -> None:
    for choices in (1, 3):
        told = events(stream(url, n=choices)[1])[:choices]
        assert [chunk["choices"][0]["delta"]["role"] for _, chunk in told] == ["assistant"] * choices
        assert [chunk["choices"][0]["index"] for _, chunk in told] == list(range(choices))


def test_finish_reason_is_null_until_each_choices_last_chunk(url: str) -> None:
    told = [chunk["choices"][0] for _, chunk in events(stream(url, n=2)[1])[:-1]]
    for choice in (0, 1):
        reasons = [one["finish_reason"] for one in told if one["index"] == choice]
        assert reasons == [None] * (len(reasons) - 1) + ["length"]


def test_usage_comes_last_before_the_end_with_empty_choices(url: str) -> None:
    *rest, (_, usage), (_, done) = events(stream(url, **USAGE)[1])
    assert done == "[DONE]"
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 6)
    assert all(chunk["usage"] is None for _, chunk in rest)


def test_there_is_exactly_one_end_and_nothing_after_it(url: str) -> None:
    for fields in ({}, USAGE, {"n": 3}, {"messages": [{"role": "user", "content": "FAULT-SEQUENCE"}]}):
        _, body = stream(url, **fields)
        assert body.count(b"data: [DONE]\n\n") == 1
        assert body.endswith(b"data: [DONE]\n\n")


def test_a_comment_keeps_a_silent_stream_alive(url: str, runtime: SeeingRuntime) -> None:
    runtime.step_delay = 0.8
    _, body = stream(url, max_tokens=2)
    assert body.count(b": keep-alive\n") >= 2
    assert events(body)[-1][1] == "[DONE]"


def test_a_failure_after_the_head_is_an_error_event_and_then_the_end(url: str) -> None:
    head, body = stream(url, messages=[{"role": "user", "content": "FAULT-SEQUENCE"}])
    assert head.startswith(b"HTTP/1.1 200")
    (_, error), (_, done) = events(body)[-2:]
    assert (set(error["error"]), error["error"]["code"]) == ({"message", "type", "param", "code"}, "engine_error")
    assert done == "[DONE]"


def test_a_failure_before_the_head_is_a_status_even_for_a_stream(url: str) -> None:
    payload = json.dumps({**BODY, "messages": [{"role": "user", "content": "word " * 3000}]}).encode()
    assert exchange(url, payload).startswith(b"HTTP/1.1 400 ")


def test_text_in_any_script_is_one_line_of_json_in_utf_8(url: str) -> None:
    part = {"type": "context_text", "context_text": "ein Hund\n\nid: 9\ndata: 犬 🐕 \u2028"}
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "was?\r\n\r\ndata: [DONE]\n\n"}]}]
    assert events(stream(url, messages=messages)[1])[-1][1] == "[DONE]"


def test_a_client_that_hangs_up_cancels_its_request(url: str, runtime: SeeingRuntime) -> None:
    runtime.step_delay = 0.02
    before = len(runtime.aborted)
    address, payload = urlsplit(url), json.dumps({**BODY, "max_tokens": 24}).encode()
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(payload)}\r\n\r\n"
        connection.sendall(head.encode() + payload)
        while b"id: 2\n" not in connection.recv(65536):
            pass
    until = time.monotonic() + 10
    while len(runtime.aborted) == before:
        assert time.monotonic() < until, "it still runs"
        time.sleep(0.02)


# The request's own pages


def answer_id(body: bytes) -> str:
    found = re.search(rb"chatcmpl-[0-9a-f]+", body)
    assert found
    return found.group().decode()


def test_the_events_of_a_request_come_again_byte_for_byte(url: str, http: httpx.Client) -> None:
    _, body = stream(url, n=2, logprobs=True, **USAGE)
    again = http.get(f"/v1/requests/{answer_id(body)}/events")
    assert again.headers["content-type"].startswith("text/event-stream")
    assert again.content == body.replace(b": keep-alive\n", b"")


def test_last_event_id_gives_what_comes_after_it(url: str, http: httpx.Client) -> None:
    _, body = stream(url)
    for last, _ in events(body):
        rest = http.get(f"/v1/requests/{answer_id(body)}/events", headers={"last-event-id": str(last)}).content
        assert events(rest) == [(number, data) for number, data in events(body) if number > last]


def test_a_dropped_stream_goes_on_at_another_gateway(
    store: StoreSettings, gateway: tuple[str, GatewayState], runtime: SeeingRuntime
) -> None:
    runtime.step_delay = 0.05
    with running(settings_for(store, disconnect_grace_s=20.0)) as (first, _):
        with httpx.stream("POST", f"{first}/v1/chat/completions", json={**BODY, "max_tokens": 15}, timeout=20) as cut:
            seen = b""
            for piece in cut.iter_bytes():
                seen += piece
                if b"id: 3\n" in seen:
                    break
        complete = seen[: seen.rindex(b"\n\n") + 2]
        last = events(complete)[-1][0]
        rest = httpx.get(
            f"{gateway[0]}/v1/requests/{answer_id(seen)}/events", headers={"last-event-id": str(last)}, timeout=20
        ).content
        told = events(complete) + events(rest)
    assert [number for number, _ in told] == list(range(len(told)))
    assert sum("content" in chunk["choices"][0]["delta"] for _, chunk in told[1:-1]) == 15


def test_a_requests_page_tells_state_usage_and_timings(url: str, http: httpx.Client) -> None:
    parts = [{"type": "image_url", "image_url": {"url": made.data_url(made.PNG)}}, {"type": "text", "text": "What?"}]
    _, body = stream(url, messages=[{"role": "user", "content": parts}])
    state = http.get(f"/v1/requests/{answer_id(body)}").json()
    assert (state["object"], state["model"], state["status"]) == ("request", "fake", "done")
    assert (state["position"], state["attempts"], state["error"]) == (None, 1, None)
    assert state["usage"]["completion_tokens"] == 4
    times = state["timings"]
    order = [times[name] for name in ("created", "taken", "started", "first_token", "finished", "deadline")]
    assert None not in order
    assert order == sorted(order)


def test_a_running_request_is_cancelled_by_delete_and_its_stream_ends(
    url: str, http: httpx.Client, runtime: SeeingRuntime
) -> None:
    runtime.step_delay = 0.05
    seen = b""
    with httpx.stream("POST", f"{url}/v1/chat/completions", json={**BODY, "max_tokens": 20}, timeout=20) as running:
        for piece in running.iter_bytes():
            if b"id: 2\n" in piece:
                assert http.delete(f"/v1/requests/{answer_id(piece)}").status_code == 200
            seen += piece
    *_, (_, last), (_, done) = events(seen)
    assert (last["choices"][0]["finish_reason"], done) == ("abort", "[DONE]")
    assert http.get(f"/v1/requests/{answer_id(seen)}").json()["status"] == "cancelled"


def test_a_request_that_the_workers_gave_up_is_a_500_not_to_be_tried_again(
    url: str, store: StoreSettings, runtime: SeeingRuntime
) -> None:
    """Three deaths of a worker take long; the end that the third one leaves in the store is written here by hand."""
    runtime.step_delay = 0.3
    client, answers = connect(store), []
    known = set(client.keys("pandagpt:record:*"))
    body = {**BODY, "stream": False, "max_tokens": 20}
    sender = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{url}/v1/chat/completions", json=body, timeout=20))
    )
    sender.start()
    until = time.monotonic() + 10
    while not (fresh := set(client.keys("pandagpt:record:*")) - known):
        assert time.monotonic() < until, "the request did not come"
        time.sleep(0.02)
    events_key = Keys("pandagpt").events(fresh.pop().rpartition(b":")[2].decode())
    client.xadd(events_key, {"events": encode([Failed(code="worker_lost", message="given up")])}, id="9-0")
    sender.join(20)
    (answer,) = answers
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "worker_lost")
    assert answer.headers["x-should-retry"] == "false"
    client.close()


def test_events_have_ids_only_where_a_client_can_use_them(url: str) -> None:
    plain = {name: value for name, value in BODY.items() if name != "stream_options"}
    chat = f"{url}/v1/chat/completions"
    assert "id: " not in httpx.post(chat, json=plain, timeout=20).text
    assert "id: 0\n" in httpx.post(chat, json=plain, headers={"idempotency-key": "ids"}, timeout=20).text
    assert "id: 0\n" in httpx.post(chat, json=BODY, timeout=20).text
    form = {"prompt": "Hi", "max_tokens": "2", "stream": "true"}
    assert "id: 0\n" in httpx.post(f"{url}/v1/generate", data=form, files={"x": (None, b"")}, timeout=20).text


def test_continuous_usage_is_in_every_chunk_and_grows(url: str) -> None:
    wanted = {"stream_options": {"continuous_usage_stats": True, "include_event_ids": True}}
    chunks = [chunk for _, chunk in events(stream(url, **wanted)[1])[:-1]]
    made = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert made == sorted(made)
    assert made[-1] > made[0] == 0
