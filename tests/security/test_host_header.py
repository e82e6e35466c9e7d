"""Threat: a bad `Host` bypassed path checks (Starlette CVE-2026-48710).

Measures: authentication is declared on each route and never matched on paths; the Host header decides nothing. A walk
over all routes wants a declared class for each.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount

from service.gateway.access.auth import Access, public
from service.gateway.app import create_app, routers
from service.gateway.openapi.document import access_of
from service.gateway.state import GatewayState
from service.settings import Settings
from tests.conftest import Valkey
from tests.fakes import worker_thread
from tests.security.beside import send

OPEN = {
    "/health",
    "/ping",
    "/health/live",
    "/health/ready",
    "/version",
    "/docs",
    "/openapi.json",
    "/docs/guide",
    "/docs/guide/{path:path}",
}
OPEN |= {"/", "/page/samples", "/page/samples/{name}", "/page/{path:path}"}  # the page: static files without a secret
HOSTS = [
    *(b"localhost", b"127.0.0.1", b"x/health/live", b"x/../health/live?", b"health/live#", b"a@b", b"[::1]", b"", b"/"),
    *(b"x\thealth", b"x:80/health/live", b"evil.example", b"x, y", b"\xff\xfe", b"a" * 5000, b"..", b"%2e%2e/docs"),
]
PATHS = [
    *("//v1/models", "/v1/models/", "/V1/models", "/v1/./models", "/v1/x/../models", "/health/live/../../v1/models"),
    *("/health/live;/v1/models", "/v1%2fmodels", "/%76%31/models", "/health/live?/v1/models", "/docs/../v1/models"),
    *("http://x/v1/models", "*", "/v1/models#", "/v1/models%00", "/v1/models%0d%0ax: y", "/\\v1\\models"),
]


def leaves(routes: list[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        yield from leaves(list(route.routes)) if isinstance(route, Mount) else [route]


def test_every_route_of_every_router_declares_its_class() -> None:
    found = [route for router in routers() for route in leaves(list(router.routes))]
    assert len(found) >= 14
    for route in found:
        assert isinstance(route, APIRoute), f"{route} cannot declare who may call it"
        declared = [dependency.call for dependency in route.dependant.dependencies]
        access = [call for call in declared if isinstance(call, Access)]
        assert len(access) + declared.count(public) == 1, f"{route.path} declares none, or two"
        assert (route.path in OPEN) == (not access)
        assert access_of(route) is (access[0] if access else None)


def test_the_application_mounts_nothing_else() -> None:
    """No file tree, no debugger, no second application: all that answers comes from the routers."""
    app = create_app(Settings())
    declared = {route.path for router in routers() for route in router.routes if isinstance(route, APIRoute)}
    assert not [route for route in app.routes if isinstance(route, Mount)]
    assert {path for path in (getattr(route, "path", None) for route in app.routes) if path} <= declared | {""}


@pytest.fixture
def guarded(valkey: Valkey, tmp_path: Path, start_gateway: Callable[..., tuple[str, GatewayState]]) -> Iterator[int]:
    file = tmp_path / "keys"
    file.write_text(f"alice {hashlib.sha256(b'key-a').hexdigest()}", encoding="utf-8")
    with worker_thread(valkey.settings):
        yield urlsplit(start_gateway(keys_file=file)[0]).port or 0


async def get(port: int, path: str, host: bytes, *extra: bytes) -> tuple[int, bytes]:
    lines = [f"GET {path} HTTP/1.1".encode("latin-1"), b"host: " + host, b"connection: close", *extra]
    answer = await send(port, [b"\r\n".join(lines) + b"\r\n\r\n"])
    return int(answer.split()[1]), answer


async def test_no_host_opens_a_door_and_none_closes_it(guarded: int) -> None:
    for host in HOSTS:
        status, answer = await get(guarded, "/v1/models", host)
        assert status in (400, 401), host
        assert b"fake" not in answer.partition(b"\r\n\r\n")[2]
        assert (await get(guarded, "/v1/models", host, b"authorization: Bearer key-a"))[0] in (200, 400), host
        assert (await get(guarded, "/health/live", host))[0] in (200, 400), host


async def test_no_forwarding_header_opens_a_door(guarded: int) -> None:
    for header in (b"x-forwarded-host: localhost", b"x-forwarded-for: 127.0.0.1", b"x-original-url: /health/live"):
        for also in (b"x-rewrite-url: /health/live", b"forwarded: for=127.0.0.1;host=localhost", b"x-http-method: GET"):
            assert (await get(guarded, "/v1/models", b"x", header, also))[0] == 401
            assert (await get(guarded, "/metrics", b"x", header, also))[0] in (200, 401), "loopback is the socket's"


async def test_no_spelling_of_a_path_opens_a_door(guarded: int) -> None:
    for path in PATHS:
        status, answer = await get(guarded, path, b"x")
        assert status in (200, 400, 401, 404, 405), path
        assert b'"fake"' not in answer, path
        if status == 200:
            assert path.startswith("/health/live"), path
