"""A running service over a failing store: pauses and restarts cost time, lost data one clear failure."""

import asyncio
import contextlib
import json
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import redis

from service.broker.keys import Keys
from service.settings import environment
from tests.chaos import callers
from tests.chaos.checker import Outcome, judge
from tests.chaos.house import House, house, until

AT_ONCE = 6


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house"), gateways=1, workers=1, step_delay=0.1) as made:
        yield made


@contextlib.asynccontextmanager
async def running(building: House, first: int) -> AsyncIterator["asyncio.Task[dict[int, Outcome]]"]:
    """Requests that are in the middle of their answers."""
    await asyncio.to_thread(building.wait_until_ready)
    numbers = range(first, first + AT_ONCE)
    task = asyncio.create_task(callers.load(building.addresses(), numbers, AT_ONCE))

    def under_way() -> bool:
        return len(building.client.keys("pandagpt:events:*")) >= AT_ONCE

    await asyncio.to_thread(until, under_way, "the requests' events")
    await asyncio.sleep(0.5)
    yield task


async def good(task: "asyncio.Task[dict[int, Outcome]]", first: int) -> int:
    """Number of requests with the answers of an undisturbed service; none may have been harmed."""
    outcomes = await asyncio.wait_for(task, 60)
    judged = judge(outcomes, {number: callers.expected(number) for number in range(first, first + AT_ONCE)})
    assert judged.flawless, judged.wrong
    return judged.good


async def test_a_pause_of_five_seconds_costs_only_time(building: House) -> None:
    await asyncio.to_thread(building.empty_store)
    async with running(building, 0) as task:
        building.store.send(signal.SIGSTOP)
        await asyncio.sleep(5)
        building.store.send(signal.SIGCONT)
        assert await good(task, 0) == AT_ONCE


async def test_killed_and_started_again_with_its_data_it_costs_only_time(building: House) -> None:
    await asyncio.to_thread(building.empty_store)
    async with running(building, 100) as task:
        await asyncio.to_thread(building.store.end, signal.SIGKILL)
        await asyncio.sleep(0.5)
        building.store.start()
        assert await good(task, 100) == AT_ONCE
    assert (await asyncio.to_thread(building.client.xlen, Keys().queue("fake", "interactive"))) == 0


async def test_started_again_without_data_each_request_fails_once_and_the_next_run(
    building: House,
) -> None:
    await asyncio.to_thread(building.empty_store)
    address = building.addresses()[0]
    await asyncio.to_thread(building.wait_until_ready)
    async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as client:
        async with client.stream("POST", "/v1/chat/completions", json=callers.body_of(1)) as response:
            lines, killed = [], False
            async for line in response.aiter_lines():
                lines.append(line)
                if not killed and len(lines) > 8:
                    killed = True
                    await asyncio.to_thread(building.forget)
        data = [line[6:] for line in lines if line.startswith("data: ")]
        assert data[-1] == "[DONE]"
        assert data.count("[DONE]") == 1
        assert [json.loads(one)["error"]["code"] for one in data[:-1] if "error" in json.loads(one)] == [
            "store_unavailable"
        ]
        await asyncio.to_thread(building.wait_until_ready)
        answer = await client.post("/v1/chat/completions", json=callers.body_of(4))
    assert answer.json()["choices"][0]["message"]["content"] == callers.expected(4)[0]


async def test_without_memory_new_requests_are_refused_and_running_ones_end_later(
    building: House,
) -> None:
    await asyncio.to_thread(building.empty_store)
    async with running(building, 200) as task:
        building.client.config_set("maxmemory", "1")
        async with httpx.AsyncClient(base_url=building.addresses()[0], timeout=30, trust_env=False) as client:
            refused = await client.post("/v1/chat/completions", json=callers.body_of(4))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert int(refused.headers["retry-after-ms"]) >= 1
        await asyncio.sleep(0.5)
        building.client.config_set("maxmemory", "0")
        assert await good(task, 200) == AT_ONCE


class OldStore(socketserver.BaseRequestHandler):
    """Says that it is Redis 5, and OK to everything else."""

    def handle(self) -> None:
        info = b"# Server\r\nredis_version:5.0.14\r\n"
        while data := self.request.recv(65536):
            for _ in range(max(1, data.count(b"*"))):
                told = b"$%d\r\n%b\r\n" % (len(info), info) if b"INFO" in data else b"+OK\r\n"
                self.request.sendall(told)


@contextlib.contextmanager
def old_store() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OldStore) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()


def worker(url: str, **store: object) -> subprocess.CompletedProcess[str]:
    """A worker that ends by itself, since it cannot use the store."""
    code = (
        "import sys; from service import settings, logs; logs.configure('info', 'text', 'worker')\n"
        "from service.worker import main; from tests.fakes import FakeRuntime\n"
        "main.load_runtime = lambda _: FakeRuntime()\n"
        "sys.exit(main.run(settings.load({})))"
    )
    env = environment({"store": {"url": url, **store}})
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=root, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_store_too_old_is_named_and_the_worker_does_not_start() -> None:
    with old_store() as url:
        ended = worker(url)
    assert ended.returncode == 1
    assert "Redis 5.0.14 is too old: the queue needs 6.2 or newer" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_wrong_password_is_named_and_shown_nowhere(building: House) -> None:
    building.client.config_set("requirepass", "the-right-one")
    try:
        ended = worker(building.url, password="a-wrong-one")
    finally:
        with redis.Redis.from_url(building.url, password="the-right-one") as admin:
            admin.config_set("requirepass", "")
    assert ended.returncode == 1
    assert "refused the credentials" in ended.stderr
    assert "wrong-one" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_workers_came_back_by_themselves(building: House) -> None:
    """After all of the above the same processes serve."""
    assert [slot.starts for slot in (*building.gateways, *building.workers)] == [1, 1]
    time.sleep(1.0)
    building.wait_until_ready()
