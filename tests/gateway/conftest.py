"""A gateway served by uvicorn in a thread, over the real store, with a fake worker behind it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
import uvicorn

from service.gateway.app import create_app
from service.gateway.state import GatewayState
from service.settings import Settings
from tests.fakes import FakeRuntime, WorkerThread, worker_thread


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[tuple[str, GatewayState]]:
    """The gateway's address and its parts, while the block lasts."""
    app = create_app(settings)
    config = uvicorn.Config(
        app, port=0, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=1, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="gateway", daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the gateway did not start"
        assert time.monotonic() < until, "the gateway did not start in time"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", app.state.gateway
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the gateway did not end"


@pytest.fixture(scope="module")
def gateway_settings(_valkey_server: object) -> Settings:
    """Of the shared gateway; short keep-alive, small uploads."""
    return make_settings(_valkey_server)


def make_settings(valkey: object, **gateway: object) -> Settings:
    ours = {"keep_alive_s": 0.3, "disconnect_grace_s": 0, **gateway}
    return Settings(store=valkey.settings, gateway=ours, decode={"processes": 1})


@pytest.fixture(scope="module")
def shared_gateway(gateway_settings: Settings) -> Iterator[tuple[str, GatewayState]]:
    with serving(gateway_settings) as (url, state):
        yield url, state


@pytest.fixture
def start_gateway(valkey: object) -> Iterator[Callable[..., tuple[str, GatewayState]]]:
    """Start another gateway with settings of its own, stopped at the test's end."""
    with contextlib.ExitStack() as stack:
        yield lambda **gateway: stack.enter_context(serving(make_settings(valkey, **gateway)))


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def worker(valkey: object, runtime: FakeRuntime) -> Iterator[WorkerThread]:
    with worker_thread(valkey.settings, runtime, lost_after_s=15.0) as worker:
        yield worker


@pytest.fixture
def url(shared_gateway: tuple[str, GatewayState], worker: WorkerThread) -> str:
    """The shared gateway, with a worker behind it."""
    return shared_gateway[0]


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def steady_http(shared_gateway: tuple[str, GatewayState], _valkey_server: object) -> Iterator[httpx.Client]:
    """For tests that look at answers only: one worker and one store for the whole module, never emptied between."""
    with (
        worker_thread(_valkey_server.settings, lost_after_s=15.0),
        httpx.Client(base_url=shared_gateway[0], timeout=30, trust_env=False) as client,
    ):
        yield client
