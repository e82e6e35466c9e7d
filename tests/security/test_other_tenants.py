"""Threat: one tenant reads another's stream by id.

Measure: a request, file or stream id of another key is 404, the same answer as for an id that never was.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.fakes import worker_thread
from tests.security.neighbours import ask, data_url, picture

NOBODYS = ("file-" + "0" * 32, "chatcmpl-" + "0" * 32)


@pytest.fixture
def tenants(
    valkey: Valkey, tmp_path: Path, start_gateway: Callable[..., tuple[str, GatewayState]]
) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Alice's and Bob's clients of one gateway."""
    file = tmp_path / "keys"
    lines = [f"{name} {hashlib.sha256(name.encode()).hexdigest()}" for name in ("alice", "bob")]
    file.write_text("\n".join(lines), encoding="utf-8")
    url, _ = start_gateway(keys_file=file)

    def client(name: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {name}"}
        return httpx.Client(base_url=url, headers=headers, timeout=20, trust_env=False)

    with worker_thread(valkey.settings), client("alice") as alice, client("bob") as bob:
        yield alice, bob


def test_another_keys_requests_and_files_do_not_exist(tenants: tuple[httpx.Client, httpx.Client]) -> None:
    alice, bob = tenants
    request_id = ask(alice, picture()).json()["id"]
    file_id = alice.post("/v1/files", files={"file": ("a.png", picture(1))}).json()["id"]
    for method, path, code in (
        ("GET", "/v1/requests/{}", "request_not_found"),
        ("GET", "/v1/requests/{}/events", "request_not_found"),
        ("GET", "/v1/requests/{}/annotated", "request_not_found"),
        ("DELETE", "/v1/requests/{}", "request_not_found"),
        ("GET", "/v1/files/{}", "file_not_found"),
        ("GET", "/v1/files/{}/content", "file_not_found"),
        ("DELETE", "/v1/files/{}", "file_not_found"),
    ):
        ours, nobodys = (request_id, NOBODYS[1]) if "requests" in path else (file_id, NOBODYS[0])
        refusal, unknown = bob.request(method, path.format(ours)), bob.request(method, path.format(nobodys))
        assert (refusal.status_code, refusal.json()["error"]["code"]) == (404, code)
        assert refusal.json() == unknown.json(), "nothing tells that the id exists"
    assert alice.get(f"/v1/requests/{request_id}").json()["status"] == "done", "nobody ended it"
    assert alice.get(f"/v1/files/{file_id}/content").content == picture(1)


def test_another_keys_responses_and_batches_do_not_exist(tenants: tuple[httpx.Client, httpx.Client]) -> None:
    alice, bob = tenants
    answer = alice.post("/v1/responses", json={"input": "Hello.", "max_output_tokens": 2}).json()["id"]
    line = b'{"custom_id": "1", "method": "POST", "url": "/v1/embeddings", "body": {"input": "a dog"}}\n'
    file = alice.post("/v1/files", files={"file": ("a.jsonl", line)}, data={"purpose": "batch"}).json()["id"]
    asked = {"input_file_id": file, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    batch = alice.post("/v1/batches", json=asked).json()["id"]
    for method, path, ours in (
        ("GET", "/v1/responses/{}", answer),
        ("GET", "/v1/responses/{}?stream=true", answer),
        ("POST", "/v1/responses/{}/cancel", answer),
        ("DELETE", "/v1/responses/{}", answer),
        ("GET", "/v1/batches/{}", batch),
        ("POST", "/v1/batches/{}/cancel", batch),
    ):
        nobodys = ours[:-4] + ("0000" if ours[-4:] != "0000" else "1111")
        refusal, unknown = bob.request(method, path.format(ours)), bob.request(method, path.format(nobodys))
        assert refusal.status_code == unknown.status_code == 404, path
        assert refusal.json() == unknown.json(), "nothing tells that the id exists"
    assert bob.post("/v1/responses", json={"input": "And?", "previous_response_id": answer}).status_code == 404
    assert bob.post("/v1/batches", json=asked).status_code == 404, "the file is another key's"
    assert alice.get(f"/v1/responses/{answer}").json()["status"] == "incomplete", "nobody ended or forgot it"
    assert alice.get(f"/v1/batches/{batch}").json()["status"] not in ("cancelling", "cancelled")


def test_another_keys_file_cannot_be_asked_about(tenants: tuple[httpx.Client, httpx.Client]) -> None:
    alice, bob = tenants
    file_id = alice.post("/v1/files", files={"file": ("a.png", picture(2))}).json()["id"]
    for part in (
        {"type": "file", "file": {"file_id": file_id}, "modality": "image"},
        {"type": "image_url", "image_url": {"url": f"file:{file_id}"}},
    ):
        body = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 2}
        assert alice.post("/v1/chat/completions", json=body).status_code == 200
        answer = bob.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "file_not_found")
        answer = bob.post("/v1/embeddings", json={"input": [part]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "file_not_found")


def test_lists_hold_ones_own_only(tenants: tuple[httpx.Client, httpx.Client]) -> None:
    alice, bob = tenants
    alice.post("/v1/files", files={"file": ("a.png", picture(3))})
    assert len(alice.get("/v1/files").json()["data"]) == 1
    assert bob.get("/v1/files").json()["data"] == []


@pytest.mark.parametrize("crafted", ["{0}:x", "*", "..%2f{0}", "{0}%00", "{0}}}", "{{{0}", "{0}%0aGET", " {0}"])
def test_no_crafted_id_reaches_another_key_of_the_store(
    tenants: tuple[httpx.Client, httpx.Client], crafted: str
) -> None:
    request_id = ask(tenants[0], picture(4)).json()["id"]
    for client in tenants:
        for path in ("/v1/requests/{}", "/v1/requests/{}/events", "/v1/files/{}"):
            assert client.get(path.format(crafted.format(request_id))).status_code in (400, 404)


def recall(client: httpx.Client, uuid: str) -> httpx.Response:
    """A chat about the picture that this key named so."""
    part = {"type": "image_url", "image_url": None, "uuid": uuid}
    return client.post(
        "/v1/chat/completions", json={"messages": [{"role": "user", "content": [part]}], "max_tokens": 1, "seed": 1}
    )


def named(client: httpx.Client, data: bytes, uuid: str) -> str:
    part = {"type": "image_url", "image_url": {"url": data_url(data)}, "uuid": uuid}
    body = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 1, "seed": 1}
    return words(client.post("/v1/chat/completions", json=body))


def words(answer: httpx.Response) -> str:
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def test_another_keys_uuid_names_nothing_and_is_not_moved(tenants: tuple[httpx.Client, httpx.Client]) -> None:
    alice, bob = tenants
    alices = named(alice, picture(1), "cover")
    refusal, unknown = recall(bob, "cover"), recall(bob, "never")
    assert refusal.status_code == unknown.status_code == 400
    assert refusal.json() == unknown.json(), "nothing tells that the name exists"
    bobs = named(bob, picture(2), "cover")
    assert bobs != alices
    assert (words(recall(alice, "cover")), words(recall(bob, "cover"))) == (alices, bobs)
