"""`Idempotency-Key`: sent again, on any gateway, a request is answered by the one that already runs."""

import hashlib
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pandagpt_core.media import samples
from pandagpt_core.types import Turn
from service.broker.gateway.client import Broker
from service.broker.gateway.idempotency_keys import IdempotencyKeys
from service.broker.keys import Keys
from service.gateway.inference.idempotency import Idempotency, fingerprint
from service.gateway.inference.validated import GenerateRequest, SamplingOverrides
from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, WorkerThread, worker_thread
from tests.gateway.by_hand import BODY, eventually, read_some, request_id

KEY = {"idempotency-key": "order-66"}
MOTION = np.ones((400, 6), np.float32)
CHAT = "/v1/chat/completions"
WHOLE = {**BODY, "stream": False}


def kept(valkey: Valkey) -> int:
    return len(valkey.client.keys("pandagpt:record:*"))


def test_what_the_model_announces_is_no_part_of_the_request() -> None:
    """A gateway of another version, which derives more or less of it, has the same hash of a request."""
    sampling = SamplingOverrides()
    plain, derived = (GenerateRequest((), (), sampling, names_places=named) for named in (False, True))
    assert fingerprint(plain, "m") == fingerprint(derived, "m")
    assert fingerprint(plain, "m") != fingerprint(GenerateRequest((), (), sampling, n=2), "m")


def test_a_request_sent_again_is_not_run_again_and_answered_the_same(http: httpx.Client, valkey: Valkey) -> None:
    seedless = {name: value for name, value in WHOLE.items() if name != "seed"}
    first, second = (http.post(CHAT, json=seedless, headers=KEY) for _ in range(2))
    assert first.json() == second.json()
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert kept(valkey) == 1
    http.post(CHAT, json=seedless)
    http.post(CHAT, json=seedless, headers={"idempotency-key": "another"})
    assert kept(valkey) == 3


def test_a_stream_sent_again_is_the_same_stream_from_its_start(http: httpx.Client, valkey: Valkey) -> None:
    first, second = (http.post(CHAT, json=BODY, headers=KEY).text for _ in range(2))
    assert re.sub(r": keep-alive\n", "", first) == re.sub(r": keep-alive\n", "", second)
    assert kept(valkey) == 1


def test_another_body_under_the_same_key_is_refused(http: httpx.Client) -> None:
    assert http.post(CHAT, json=WHOLE, headers=KEY).status_code == 200
    for changed in ({"max_tokens": 3}, {"messages": [{"role": "user", "content": "Else"}]}, {"stream": True}):
        refused = http.post(CHAT, json={**WHOLE, **changed}, headers=KEY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert http.post("/v1/embeddings", json={"input": "x"}, headers=KEY).status_code == 409


@pytest.mark.parametrize("key", ["", "two words", "x" * 256])
def test_a_key_that_is_none_is_refused(http: httpx.Client, key: str) -> None:
    refused = http.post(CHAT, json=WHOLE, headers={"idempotency-key": key})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "Idempotency-Key")


def test_a_form_sent_again_has_another_boundary_and_is_the_same_request(
    http: httpx.Client, valkey: Valkey, runtime: FakeRuntime
) -> None:
    form, files = {"prompt": "Hear", "max_tokens": "4", "imu_rate_hz": "50"}, {"imu": ("m.npy", samples.npy(MOTION))}
    first, second = (http.post("/v1/generate", data=form, files=files, headers=KEY) for _ in range(2))
    assert first.status_code == 200
    assert first.json() == second.json()
    assert kept(valkey) == 1
    other = http.post("/v1/generate", data=form, files={"imu": ("m.npy", samples.npy(MOTION * 2))}, headers=KEY)
    assert other.status_code == 409


def test_embeddings_sent_again_are_not_made_again(http: httpx.Client, valkey: Valkey) -> None:
    first, second = (http.post("/v1/embeddings", json={"input": ["a", "b"]}, headers=KEY) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert kept(valkey) == 1


def test_sent_twice_at_once_on_two_gateways_it_runs_once(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread, runtime: FakeRuntime, valkey: Valkey
) -> None:
    runtime.step_delay = 0.02
    urls = [start_gateway()[0] for _ in range(2)]
    answers: list[dict[str, object]] = []

    def send(url: str) -> None:
        answers.append(httpx.post(url + CHAT, json=WHOLE, headers=KEY, timeout=20).json())

    threads = [threading.Thread(target=send, args=(urls[at % 2],)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 6
    assert all(answer == answers[0] for answer in answers)
    assert kept(valkey) == 1


def test_a_caller_who_lost_the_connection_and_asks_again_gets_the_whole_text(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread, runtime: FakeRuntime, valkey: Valkey
) -> None:
    runtime.step_delay = 0.03
    (first, _), (second, _) = start_gateway(), start_gateway()
    sender, data = read_some(first, BODY, b"id: 3\n", KEY)
    sender.close()
    again = httpx.post(second + CHAT, json=BODY, headers=KEY, timeout=20).text
    assert request_id(again) == request_id(data.decode())
    assert again.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"abort"' not in again
    assert runtime.aborted == []
    assert kept(valkey) == 1


def test_a_caller_with_a_key_who_never_comes_back_is_given_up_after_the_grace(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread, runtime: FakeRuntime
) -> None:
    runtime.step_delay = 0.1
    url, _ = start_gateway(retry_grace_s=0.2)
    sender, _ = read_some(url, {**BODY, "max_tokens": 500}, b"id: 1\n", KEY)
    sender.close()
    eventually(lambda: len(runtime.aborted) == 1)


def test_after_a_refusal_or_a_cancel_the_key_is_free(
    start_gateway: Callable[..., tuple[str, GatewayState]], valkey: Valkey, runtime: FakeRuntime
) -> None:
    url, _ = start_gateway()
    refused = httpx.post(url + CHAT, json=BODY, headers=KEY)
    assert refused.status_code == 503
    runtime.step_delay = 0.05
    with worker_thread(valkey.settings, runtime):
        eventually(lambda: httpx.get(f"{url}/health/ready").status_code == 200)
        sender, data = read_some(url, BODY, b"id: 2\n", KEY)
        httpx.delete(f"{url}/v1/requests/{request_id(data.decode())}")
        sender.close()
        state = f"{url}/v1/requests/{request_id(data.decode())}"
        eventually(lambda: httpx.get(state).json()["status"] == "cancelled")
        again = httpx.post(url + CHAT, json=WHOLE | {"stream": True}, headers=KEY, timeout=20).text
    assert request_id(again) != request_id(data.decode())
    assert '"finish_reason":"length"' in again


def test_a_failure_that_would_come_again_is_told_again_and_not_tried_again(http: httpx.Client, valkey: Valkey) -> None:
    body = {**WHOLE, "messages": [{"role": "user", "content": "FAULT-SEQUENCE"}]}
    for _ in range(2):
        failed = http.post(CHAT, json=body, headers=KEY)
        assert (failed.status_code, failed.json()["error"]["code"]) == (500, "engine_error")
    assert kept(valkey) == 1


def test_the_same_key_of_another_caller_is_another_key(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread, valkey: Valkey, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text("".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("ann", "bob")))
    url, _ = start_gateway(keys_file=file)
    bodies = {"ann": WHOLE, "bob": {**WHOLE, "max_tokens": 3}}
    for name, body in bodies.items():
        answer = httpx.post(url + CHAT, json=body, headers={**KEY, "authorization": f"Bearer {name}"})
        assert answer.status_code == 200
    assert kept(valkey) == 2


def test_what_a_claim_says_is_no_text_of_the_caller(http: httpx.Client, valkey: Valkey) -> None:
    http.post(CHAT, json=WHOLE, headers=KEY)
    (name,) = valkey.client.keys("pandagpt:retry:*")
    assert re.fullmatch(rb"chatcmpl-[0-9a-f]{32} [0-9a-f]{64} 0", valkey.client.get(name))
    assert "order" not in name.decode()
    assert json.dumps(WHOLE["messages"]) not in name.decode()
    assert valkey.client.ttl(name) > 600


def test_a_request_whose_first_gateway_died_before_queueing_it_is_queued(http: httpx.Client, valkey: Valkey) -> None:
    first = http.post(CHAT, json=WHOLE, headers=KEY)
    valkey.client.delete(*valkey.client.keys("pandagpt:record:*"), *valkey.client.keys("pandagpt:events:*"))
    assert valkey.client.keys("pandagpt:retry:*"), "the key alone is left, as after a death behind the claim"
    second = http.post(CHAT, json=WHOLE, headers=KEY)
    assert second.status_code == 200
    assert {**second.json(), "created": 0} == {**first.json(), "created": 0}
    assert kept(valkey) == 1


class GivenUpMeanwhile:
    """A broker whose first submit comes just behind the end of the caller's earlier try, which was given up: before it
    was `queued`, or after that."""

    def __init__(self, inner: Broker, queued: bool) -> None:
        self._inner, self._queued, self.ids = inner, queued, list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def submit(self, request: Any, *arguments: Any, **named: Any) -> Any:
        self.ids.append(request.id)
        if len(self.ids) == 1 and self._queued:
            await self._inner.cancel_record(await self._inner.submit(request, *arguments, **named))
        elif len(self.ids) == 1:
            await self._inner._store.hset(Keys().record(request.id), "cancelled", "1")
        return await self._inner.submit(request, *arguments, **named)


@pytest.mark.parametrize("queued", [False, True])
def test_a_repeat_behind_a_try_that_is_given_up_meanwhile_is_answered(
    queued: bool, start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread
) -> None:
    url, gateway = start_gateway()
    broker = gateway.requests.broker = GivenUpMeanwhile(gateway.requests.broker, queued)  # type: ignore[assignment]  # a fake
    answered = httpx.post(url + CHAT, json=WHOLE, headers=KEY, timeout=20)
    assert answered.status_code == 200
    assert answered.json()["choices"][0]["finish_reason"] == "length"
    assert len(set(broker.ids)) == 2
    assert "idempotent-replayed" not in answered.headers


async def test_a_first_try_that_releases_its_key_late_leaves_it_to_the_repeat(valkey: Valkey) -> None:
    """A try that was turned away frees its key by a command that the store may get after the repeat was queued."""
    broker, keys = Broker.connect(valkey.settings), Keys()
    store = broker._store
    idempotency = Idempotency(IdempotencyKeys(store, keys, 60), broker)
    wanted = GenerateRequest((Turn("user", "hi"),), (), SamplingOverrides())
    first = await idempotency.begin("tenant-a", "key", wanted, "fake")
    repeat = await idempotency.begin("tenant-a", "key", wanted, "fake")
    assert (repeat.id, repeat.replayed) == (first.id, True)
    await idempotency.give_up(first)
    assert (await idempotency.begin("tenant-a", "key", wanted, "fake")).id == first.id
    await broker.close()
