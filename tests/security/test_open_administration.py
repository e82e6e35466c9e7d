"""Threat: open administration routes (Ollama, Ray CVE-2023-48022, Triton).

Measures: the public port serves the public interface and nothing else; metrics are for a key of that class, for
loopback on a loopback gateway, or on a port of their own.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx

from service.gateway.access.auth import CLASSES, Caller, OperatorAccess, Scope
from service.gateway.app import routers
from service.gateway.state import GatewayState
from service.local import ports
from tests.conftest import Valkey
from tests.gateway.conftest import make_settings, serving

PUBLIC = {
    *("/v1/chat/completions", "/v1/generate", "/v1/embeddings", "/v1/files", "/v1/files/{file_id}"),
    *("/v1/files/{file_id}/content", "/v1/models", "/v1/models/{model:path}", "/v1/requests/{request_id}"),
    *(
        "/v1/requests/{request_id}/events",
        "/v1/requests/{request_id}/annotated",
        "/v1/media/inspect",
        "/v1/models/",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/completions",
        "/v1/rerank",
        "/v1/responses",
        "/v1/batches",
        "/v1/batches/{batch_id}",
        "/v1/batches/{batch_id}/cancel",
        "/v1/responses/{response_id}",
        "/v1/responses/{response_id}/cancel",
        "/v1/score",
        "/tokenize",
        "/detokenize",
        "/health",
        "/ping",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/version",
        "/docs",
    ),
    *("/docs/guide", "/docs/guide/{path:path}"),
    *("/openapi.json", "/", "/page/{path:path}", "/page/samples", "/page/samples/{name}"),
}
ELSEWHERE = [
    *("/admin", "/api/pull", "/api/delete", "/api/create", "/v2/repository/index", "/v2/models/x/load", "/debug"),
    *("/api/jobs/", "/reset_prefix_cache", "/sleep", "/v1/load_lora_adapter", "/shutdown", "/env", "/redoc", "/.env"),
    *("/start_profile", "/collective_rpc", "/pause", "/static/../openapi.yaml", "/docs/oauth2-redirect", "/metrics/"),
]


def test_the_public_interface_is_this() -> None:
    """A new route needs a thought about who may call it, and a line here."""
    found = {getattr(route, "path", "") for router in routers() for route in router.routes}
    assert found == PUBLIC


def test_ollamas_interface_has_no_administration() -> None:
    """With the interface on, no route takes, makes or removes a model."""
    found = {getattr(route, "path", "") for router in routers(with_ollama=True) for route in router.routes}
    ollama = {f"/api/{name}" for name in ("chat", "generate", "embed", "tags", "ps", "show", "version")}
    assert found == PUBLIC | ollama


def test_what_administers_other_servers_is_not_found_here(steady_http: httpx.Client) -> None:
    for path in ELSEWHERE:
        for method in ("GET", "POST", "DELETE"):
            answer = steady_http.request(method, path)
            assert answer.status_code in (400, 404, 405), (method, path)
            assert len(answer.content) < 4096


def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    lines = [f"{kind} {hashlib.sha256(kind.encode()).hexdigest()} {kind}" for kind in CLASSES]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_metrics_beyond_loopback_need_a_key_of_that_class(
    valkey: Valkey, tmp_path: Path, start_gateway: Callable[..., tuple[str, GatewayState]]
) -> None:
    url, state = start_gateway(keys_file=keys(tmp_path))
    state.host = "0.0.0.0"  # as if it listened to all; this test's own socket is loopback
    statuses = {}
    for kind in ("", *CLASSES):
        headers = {"authorization": f"Bearer {kind}"} if kind else {}
        statuses[kind] = httpx.get(f"{url}/metrics", headers=headers, trust_env=False).status_code
    assert statuses == {"": 401, "user": 403, "reader": 403, "metrics": 200, "admin": 200}


def test_metrics_on_a_port_of_their_own_leave_the_public_one(valkey: Valkey) -> None:
    port = ports.choose("127.0.0.1", 0)
    with serving(make_settings(valkey, admin_port=port)) as (url, _):
        assert httpx.get(f"{url}/metrics", trust_env=False).status_code == 404
        own = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
        assert "pandagpt_requests" in own.text
        assert not [
            path for path in PUBLIC if httpx.get(f"http://127.0.0.1:{port}{path}/x", trust_env=False).text == ""
        ]


def test_operators_access_is_used_by_metrics_alone() -> None:
    of_operators = [
        route.path
        for router in routers()
        for route in router.routes
        for dependency in route.dependant.dependencies
        if isinstance(dependency.call, OperatorAccess)
    ]
    assert of_operators == ["/metrics"]
    assert Caller("local", "", frozenset({Scope.METRICS})).tenant == ""
