"""Keys, classes and scopes; every route declares who may call it; another key's things do not exist."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from service.gateway.access.auth import CLASSES, KeyRing, Scope, public, read_keys
from service.gateway.app import create_app, routers
from service.gateway.errors import GatewayError
from service.gateway.openapi.document import access_of
from service.gateway.state import GatewayState
from service.settings import Settings, SettingsError
from tests.fakes import WorkerThread


def line(name: str, key: str, kind: str = "") -> str:
    return f"{name} {hashlib.sha256(key.encode()).hexdigest()} {kind}"


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    lines = ["# who", line("alice", "key-a"), line("bob", "key-b", "user"), line("prom", "key-m", "metrics")]
    file.write_text("\n".join([*lines, line("root", "key-r", "admin # all"), line("eye", "key-e", "reader"), ""]))
    return file


@pytest.fixture
def guarded(start_gateway: Callable[..., tuple[str, GatewayState]], keys_file: Path, worker: WorkerThread) -> str:
    return start_gateway(keys_file=keys_file)[0]


def call(url: str, key: str | None, method: str = "GET", path: str = "/v1/models", **more: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key is not None else {}
    return httpx.request(method, url + path, headers=headers, timeout=60, trust_env=False, **more)


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


GUIDE = ("/docs/guide", "/docs/guide/{path}")
PAGE = {"/", "/page/{path}", "/page/samples", "/page/samples/{name}"}
CHAT = {"json": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}}


def test_every_route_declares_who_may_call_it() -> None:
    routes = [route for router in routers(with_ollama=True) for route in router.routes]
    assert len(routes) >= 14
    for route in routes:
        assert isinstance(route, APIRoute)
        calls = [dependency.call for dependency in route.dependant.dependencies]
        assert (access_of(route) is not None) != (public in calls), f"{route.path} declares no access, or two"


def test_the_application_has_no_route_but_the_declared_ones() -> None:
    app = create_app(Settings())
    declared = {route.path_format for router in routers() for route in router.routes if isinstance(route, APIRoute)}
    assert set(app.openapi()["paths"]) | {"/docs", "/openapi.json", "/v1/models/", *GUIDE} | PAGE == declared


def test_only_health_version_and_the_manual_are_public() -> None:
    routes = [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]
    open_ones = {route.path_format for route in routes if access_of(route) is None}
    health = {"/health", "/ping", "/health/live", "/health/ready"}
    assert open_ones == health | {"/version", "/docs", "/openapi.json", *GUIDE} | PAGE


def test_no_key_and_a_wrong_key_are_refused(guarded: str) -> None:
    wrong = [b"Bearer", b"Bearer key", b"Bearer " + b"key-a" * 500, b"Bearer key-\xc3\xa9", b"Basic key-a", b"key-a"]
    for headers in ({}, *({"authorization": value} for value in wrong)):
        answer = httpx.get(f"{guarded}/v1/models", headers=headers, trust_env=False)
        assert code(answer) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_right_key_may_what_its_class_may(guarded: str) -> None:
    assert call(guarded, "key-a").status_code == 200
    assert call(guarded, "key-a", "POST", "/v1/chat/completions", **CHAT).status_code == 200
    assert call(guarded, "key-e").status_code == 200
    assert code(call(guarded, "key-e", "POST", "/v1/chat/completions", **CHAT)) == (403, "permission_denied")
    assert code(call(guarded, "key-m")) == (403, "permission_denied")
    assert call(guarded, "key-r", "POST", "/v1/chat/completions", **CHAT).status_code == 200


def test_a_key_may_be_given_scopes_of_its_own(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread, tmp_path: Path
) -> None:
    file = tmp_path / "scopes"
    file.write_text(f"embedder {hashlib.sha256(b'key-s').hexdigest()} embed,files\n")
    url = start_gateway(keys_file=file)[0]
    assert call(url, "key-s", "POST", "/v1/embeddings", json={"input": "a"}).status_code == 200
    assert call(url, "key-s", path="/v1/files").status_code == 200
    for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/v1/requests/x")):
        assert code(call(url, "key-s", method, path)) == (403, "permission_denied")


def test_a_body_is_not_read_before_the_key_is_known(guarded: str) -> None:
    assert code(call(guarded, None, "POST", "/v1/generate", content=b"x" * 10_000)) == (401, "invalid_api_key")


def test_another_keys_request_does_not_exist(guarded: str) -> None:
    request_id = call(guarded, "key-a", "POST", "/v1/chat/completions", **CHAT).json()["id"]
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
        assert call(guarded, "key-a", method, f"/v1/requests/{request_id}{path}").status_code == 200
        other = call(guarded, "key-b", method, f"/v1/requests/{request_id}{path}")
        assert code(other) == (404, "request_not_found")


def test_health_needs_no_key(guarded: str) -> None:
    assert call(guarded, None, path="/health/live").status_code == 200
    assert call(guarded, None, path="/health/ready").status_code == 200


def test_a_key_is_found_by_its_hash_alone(keys_file: Path) -> None:
    ring = KeyRing(read_keys(keys_file))
    assert ring.find({"authorization": "Bearer key-a"}).name == "alice"
    assert ring.find({"authorization": "bearer  key-b "}).name == "bob"
    with pytest.raises(GatewayError):
        ring.find({"authorization": f"Bearer {hashlib.sha256(b'key-a').hexdigest()}"})


def test_without_keys_everybody_is_one_who_may_all_but_metrics() -> None:
    assert KeyRing(None).find({}).scopes == frozenset(Scope) - {Scope.METRICS}


@pytest.mark.parametrize("rest", ["weight=2.5", "user weight=2.5", "user cache=lab weight=2.5", "weight=2.5 cache=lab"])
def test_a_key_has_a_weight_in_the_queue(tmp_path: Path, rest: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"alice {_HASH} {rest}\nbob {_HASH} user\n", encoding="utf-8")
    alice, bob = read_keys(file)
    assert (alice.weight, bob.weight) == (2.5, 1.0)
    assert (alice.scopes, alice.cache_group) == (bob.scopes, "lab" if "cache" in rest else None)


@pytest.mark.parametrize("weight", ["0.1", "100"])
def test_a_weight_may_be_at_its_bounds(tmp_path: Path, weight: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"alice {_HASH} weight={weight}", encoding="utf-8")
    assert read_keys(file)[0].weight == float(weight)


@pytest.mark.parametrize("weight", ["0.09", "100.1", "0", "-1", "nan", "inf", "", "heavy"])
def test_a_weight_out_of_bounds_is_refused_with_its_line_and_the_bounds(tmp_path: Path, weight: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"bob {_HASH}\nalice {_HASH} user weight={weight}", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"line 2: the weight must be a number from 0\.1 to 100"):
        read_keys(file)


_HASH = "0" * 64
_NO_KEYS = ["", "# none\n", "alice", "alice zz", f"al/ice {_HASH}", f"alice {_HASH} king", f"alice {_HASH} user b"]
_NO_KEYS += [f"alice {_HASH} {words}" for words in ("embed,king", "embed,,files", "embed,embed", ",")]
_NO_KEYS += [f"alice {_HASH} {words}" for words in ("weight=1 weight=2", "wait=1", "weight=1 user", "user b weight=1")]


@pytest.mark.parametrize("text", _NO_KEYS)
def test_a_keys_file_that_is_none_refuses_to_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(SettingsError):
        create_app(Settings(gateway={"keys_file": file}))


def test_the_classes_are_what_the_manual_says() -> None:
    assert set(CLASSES) == {"user", "reader", "metrics", "admin"}


@pytest.mark.parametrize("header", ["x-api-key", "api-key"])
def test_a_key_may_stand_in_the_headers_of_other_clients(guarded: str, header: str) -> None:
    assert httpx.get(f"{guarded}/v1/models", headers={header: "key-a"}).status_code == 200
    assert httpx.get(f"{guarded}/v1/models", headers={header: "wrong"}).status_code == 401
    both = {header: "key-a", "authorization": "Bearer wrong"}
    assert httpx.get(f"{guarded}/v1/models", headers=both).status_code == 401
