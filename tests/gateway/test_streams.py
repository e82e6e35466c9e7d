"""Streams on a real server: keep-alives, failures before and after the head, clients that go away, reading again."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest

from pandagpt_core.types import Conversation, SamplingParams, Turn
from service.broker.protocol import Failed, encode
from service.gateway.state import GatewayState
from service.settings import Settings
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, WorkerThread, expected_text, worker_thread
from tests.gateway.by_hand import BODY, IDS, eventually, read_on, read_some, request_id


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime(step_delay=0.02)


def test_a_client_that_goes_away_cancels_its_stream(url: str, runtime: FakeRuntime) -> None:
    sender, _ = read_some(url, BODY, b"id: 2\n")
    sender.close()
    eventually(lambda: len(runtime.aborted) == 1)
    assert not runtime.has_work


def test_a_client_that_goes_away_cancels_its_whole_answer_too(url: str, runtime: FakeRuntime) -> None:
    address = urlsplit(url)
    sender = socket.create_connection((address.hostname, address.port), timeout=10)
    payload = json.dumps({**BODY, "stream": False}).encode()
    sender.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(payload) + payload
    )
    eventually(lambda: runtime.has_work)
    sender.close()
    eventually(lambda: len(runtime.aborted) == 1)


def test_within_the_grace_time_another_gateway_goes_on_with_the_stream(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread, runtime: FakeRuntime
) -> None:
    first, _ = start_gateway(disconnect_grace_s=20.0)
    second, _ = start_gateway(disconnect_grace_s=20.0)
    sender, data = read_some(first, BODY, b"id: 3\n")
    sender.close()
    text = data.decode()
    last = int(re.findall(r"id: (\d+)", text)[-1])
    complete = last if text.endswith("\n\n") else last - 1
    rest = httpx.get(
        f"{second}/v1/requests/{request_id(text)}/events", headers={"last-event-id": str(complete)}, timeout=10
    ).text
    again = httpx.get(f"{first}/v1/requests/{request_id(text)}/events", timeout=10).text
    assert rest.startswith(f"id: {complete + 1}\n")
    assert again.endswith(rest)
    assert rest.endswith("data: [DONE]\n\n")
    assert runtime.aborted == []


def test_after_the_grace_time_without_a_reader_it_is_cancelled(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread, runtime: FakeRuntime
) -> None:
    url, _ = start_gateway(disconnect_grace_s=0.1)
    sender, _ = read_some(url, {**BODY, "max_tokens": 500}, b"id: 1\n")
    runtime.step_delay = 0.1
    sender.close()
    eventually(lambda: len(runtime.aborted) == 1)


def test_two_hundred_streams_each_get_every_event_in_order_and_once(
    shared_gateway: tuple[str, GatewayState], valkey: Valkey
) -> None:
    """All open at once on one gateway, each told its own words; forty are read by a second reader beside."""
    address = urlsplit(shared_gateway[0])

    async def told(head: str, body: str = "") -> list[tuple[str, str]]:
        """Ids and data of the stream's events."""
        text = b""
        async with opening:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(f"{head} HTTP/1.0\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
            while b"id: 1\n" not in text:
                piece = await reader.read(1000)
                assert piece, text
                text += piece
        if head.startswith("POST") and len(beside) < 40:
            again = told(f"GET /v1/requests/{request_id(text.decode())}/events")
            beside.append(asyncio.create_task(again))
        text += await reader.read()
        writer.close()
        await writer.wait_closed()
        return re.findall(r"id: (\d+)\ndata: (.*)\n\n", text.decode())

    async def all_of_them() -> tuple[list[list[tuple[str, str]]], list[list[tuple[str, str]]]]:
        bodies = [{**BODY, "messages": [{"role": "user", "content": f"number {number}"}]} for number in range(200)]
        streams = await asyncio.gather(*(told("POST /v1/chat/completions", json.dumps(body)) for body in bodies))
        return streams, await asyncio.gather(*beside)

    opening = asyncio.Semaphore(16)
    beside: list[asyncio.Task[list[tuple[str, str]]]] = []
    with worker_thread(valkey.settings, FakeRuntime(step_delay=0.1), max_sequences=200):
        streams, again = asyncio.run(all_of_them())
    for number, events in enumerate(streams):
        assert [int(name) for name, _ in events] == list(range(len(events))), number
        assert [data for _, data in events].index("[DONE]") == len(events) - 1
        said = Conversation((Turn("user", f"number {number}"),))
        expected = expected_text(said, SamplingParams(max_tokens=20, seed=3))
        heard = [json.loads(data)["choices"][0]["delta"].get("content", "") for _, data in events[:-1]]
        assert "".join(heard) == expected, number
    assert len(again) == 40
    assert all(events in streams for events in again)


def test_reading_again_gives_the_same_bytes(http: httpx.Client) -> None:
    usage = {"stream_options": {"include_usage": True, **IDS}, "n": 2, "logprobs": True}
    original = http.post("/v1/chat/completions", json={**BODY, **usage}).text
    events = re.sub(r": keep-alive\n", "", original)
    again = http.get(f"/v1/requests/{request_id(original)}/events").text
    assert again == events


def test_a_last_event_id_that_is_none_is_refused(http: httpx.Client) -> None:
    original = http.post("/v1/chat/completions", json=BODY).text
    for last in ("x", "-1", "1" * 30, "1.5"):
        answer = http.get(f"/v1/requests/{request_id(original)}/events", headers={"last-event-id": last})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Last-Event-ID")


def test_keep_alives_come_while_the_request_waits(http: httpx.Client, runtime: FakeRuntime) -> None:
    runtime.step_delay = 0.5
    text = http.post("/v1/chat/completions", json={**BODY, "max_tokens": 3}).text
    assert text.count(": keep-alive\n") >= 1
    assert text.endswith("data: [DONE]\n\n")


def test_a_request_that_waits_for_its_turn_has_a_comment_with_its_head(
    start_gateway: Callable[..., tuple[str, GatewayState]], valkey: Valkey, runtime: FakeRuntime
) -> None:
    """The head comes of the first silence, so the comment for that silence comes with it, not after another one."""
    url, _ = start_gateway(keep_alive_s=2.0)
    with worker_thread(valkey.settings, runtime, max_sequences=1, prefetch=0, lost_after_s=15.0):
        eventually(lambda: httpx.get(f"{url}/health/ready").status_code == 200)
        runtime.step_delay = 0.3
        running, _ = read_some(url, {**BODY, "max_tokens": 500}, b"id: 1\n")
        waiting, data = read_some(url, BODY, b"\r\n\r\n")
        runtime.step_delay = 0.0
        running.close()  # so that the answer begins before there was another silence
        data = read_on(waiting, b"[DONE]", data)
        waiting.close()
        assert b": keep-alive\n" in data.partition(b"id: 0\n")[0]


def test_a_prompt_too_long_is_an_http_400_even_for_a_stream(http: httpx.Client) -> None:
    body = {**BODY, "messages": [{"role": "user", "content": "word " * 3000}]}
    for stream in (True, False):
        answer = http.post("/v1/chat/completions", json={**body, "stream": stream})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert http.post("/v1/chat/completions", json=BODY).status_code == 200


def test_a_failure_after_the_head_is_an_error_event_and_then_the_end(http: httpx.Client) -> None:
    body = {**BODY, "messages": [{"role": "user", "content": "FAULT-SEQUENCE"}]}
    text = http.post("/v1/chat/completions", json=body).text
    *_, error, done = re.findall(r"data: (.*)\n\n", text)
    assert done == "[DONE]"
    assert set(json.loads(error)["error"]) == {"message", "type", "param", "code"}
    assert text.count("[DONE]") == 1
    whole = http.post("/v1/chat/completions", json={**body, "stream": False})
    assert whole.status_code == 500


def test_an_end_by_another_hand_reaches_the_reader(valkey: Valkey, url: str) -> None:
    """The end that the store holds is what the caller gets, whoever wrote it."""
    ended = httpx.post(f"{url}/v1/chat/completions", json={**BODY, "stream": False}, timeout=10).json()["id"]
    key = f"pandagpt:events:{{{ended}}}"
    valkey.client.delete(key)
    valkey.client.xadd(key, {"events": encode([Failed(code="worker_lost", message="given up")])}, id="1-0")
    text = httpx.get(f"{url}/v1/requests/{ended}/events", timeout=10).text
    assert json.loads(re.findall(r"data: (.*)\n\n", text)[0])["error"]["code"] == "worker_lost"


def test_the_request_tells_how_it_stands(http: httpx.Client, runtime: FakeRuntime) -> None:
    original = http.post("/v1/chat/completions", json=BODY).text
    state = http.get(f"/v1/requests/{request_id(original)}").json()
    assert (state["object"], state["status"], state["model"]) == ("request", "done", "fake")
    assert state["usage"] == {"prompt_tokens": 2, "completion_tokens": 20, "total_tokens": 22, "cached_items": 0}
    assert state["timings"]["created"] <= state["timings"]["started"] <= state["timings"]["finished"]
    assert http.delete(f"/v1/requests/{request_id(original)}").json()["status"] == "done"


def test_a_running_request_can_be_cancelled(url: str, http: httpx.Client, runtime: FakeRuntime) -> None:
    sender, data = read_some(url, BODY, b"id: 2\n")
    answer = http.delete(f"/v1/requests/{request_id(data.decode())}")
    assert answer.status_code == 200
    while piece := sender.recv(65536):
        data += piece
        if b"[DONE]" in data:
            break
    sender.close()
    assert b'"finish_reason":"abort"' in data
    assert http.get(f"/v1/requests/{request_id(data.decode())}").json()["status"] == "cancelled"


def test_a_request_that_waits_tells_its_place(
    start_gateway: Callable[..., tuple[str, GatewayState]], valkey: Valkey, gateway_settings: Settings
) -> None:
    url, _ = start_gateway()
    runtime = FakeRuntime(step_delay=0.2)
    with worker_thread(valkey.settings, runtime, max_sequences=1, prefetch=0):

        def send() -> None:
            httpx.post(f"{url}/v1/chat/completions", json={**BODY, "stream": False}, timeout=30)

        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(valkey.client.keys("pandagpt:record:*")) == 3)
        ids = [key.decode().rpartition(":")[2] for key in valkey.client.keys("pandagpt:record:*")]

        def places() -> list[int | None]:
            states = [httpx.get(f"{url}/v1/requests/{id_}").json() for id_ in ids]
            return sorted(state["position"] for state in states if state["position"] is not None)

        eventually(lambda: places() == [1, 2])  # the third runs
        for id_ in ids:
            assert httpx.delete(f"{url}/v1/requests/{id_}").status_code == 200
        for thread in threads:
            thread.join(20)


def test_a_request_that_is_none_is_a_404(http: httpx.Client) -> None:
    for name in ("chatcmpl-0", "%00", "x" * 100, "{a}", "..%2f"):
        for method in ("GET", "DELETE"):
            answer = http.request(method, f"/v1/requests/{name}")
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] in ("request_not_found", "not_found")
