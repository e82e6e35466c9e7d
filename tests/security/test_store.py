"""Threat: Redis reachable without a password; blocked-client bugs (CVE-2025-49844, CVE-2026-23479).

Measures: a password, an ACL user for each side with just the commands it needs, nothing published, a version floor that
the client checks and warns of. The store here is started by the deployment's own script and configuration.
"""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.retry import Retry

from service.broker.connection import check_version
from service.broker.errors import StoreRefused, StoreTooOld
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.local import ports
from service.local.store import binary
from service.settings import Settings, StoreSettings
from tests.fakes import FakeRuntime, worker_thread
from tests.gateway.conftest import serving
from tests.security.neighbours import picture, with_picture
from tests.wire import answer, collect, generate, media, run, text_of, until

PASSWORDS = {"gateway": "gate/&\\way $1", "worker": "work'er"}
WATCHER = "user watcher on >watcher ~* &* +@all\n"


@dataclass(frozen=True)
class Deployed:
    """A store as deployed, and an extra user who may look at the log of what was refused."""

    port: int
    watcher: "redis.Redis"

    def settings(self, user: str, **other: object) -> StoreSettings:
        given = {"username": user, "password": PASSWORDS[user], **other}
        return StoreSettings(url=f"redis://127.0.0.1:{self.port}/0", **given)

    def client(self, user: str) -> "redis.Redis":
        return redis.Redis(port=self.port, username=user, password=PASSWORDS[user])

    def refused(self) -> list[tuple[str, str]]:
        return [(entry["username"], entry["object"]) for entry in self.watcher.acl_log()]


def environment(folder: Path, **passwords: str) -> dict[str, str]:
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    if not (tools / "valkey-server").exists():
        (tools / "valkey-server").symlink_to(binary())
    ours = {
        "CONF": str(folder / "conf"),
        "RUN": str(folder),
        "DATA": str(folder),
        "PATH": f"{tools}:{os.environ['PATH']}",
    }
    return {**ours, **{f"STORE_{name.upper()}_PASSWORD": value for name, value in passwords.items()}}


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployed")
    shutil.copytree(root / "deploy" / "valkey", folder / "conf")
    return folder


@pytest.fixture(scope="module")
def deployed(folder: Path) -> Iterator[Deployed]:
    acl = folder / "conf" / "users.acl"
    acl.write_text(acl.read_text(encoding="utf-8") + WATCHER, encoding="utf-8")
    port = ports.choose("127.0.0.1", 0)
    process = subprocess.Popen(
        [folder / "conf" / "start.sh", "--port", str(port), "--bind", "127.0.0.1"],
        env=environment(folder, **PASSWORDS),
        stdout=subprocess.DEVNULL,
    )
    watcher = redis.Redis(port=port, username="watcher", password="watcher", decode_responses=True)
    try:
        until_time = time.monotonic() + 20
        while True:
            with contextlib.suppress(redis.ConnectionError):
                watcher.ping()
                break
            assert process.poll() is None, "the store did not start"
            assert time.monotonic() < until_time
            time.sleep(0.05)
        yield Deployed(port, watcher)
    finally:
        watcher.close()
        process.terminate()
        process.wait(20)


@pytest.fixture
def store(deployed: Deployed) -> Iterator[Deployed]:
    """Emptied; at the end nothing that the service does may have been refused."""
    deployed.watcher.flushall()
    deployed.watcher.acl_log_reset()
    yield deployed
    assert deployed.refused() == []


@pytest.mark.parametrize(
    "passwords", [{}, {"gateway": "", "worker": ""}, {"gateway": "x"}, {"gateway": "x", "worker": ""}]
)
def test_the_store_refuses_to_start_with_an_empty_password(folder: Path, passwords: dict[str, str]) -> None:
    done = subprocess.run(
        [folder / "conf" / "start.sh"],
        env=environment(folder, **passwords),
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode != 0
    assert b"needs a password" in done.stderr


def test_nobody_gets_in_without_a_password_or_with_a_wrong_one(deployed: Deployed) -> None:
    for credentials in ({}, {"password": ""}, {"username": "gateway", "password": "wrong"}, {"username": "default"}):
        with (
            redis.Redis(port=deployed.port, retry=Retry(NoBackoff(), 0), **credentials) as client,
            pytest.raises((AuthenticationError, ResponseError)),
        ):
            client.ping()


async def test_a_whole_request_runs_with_just_those_commands(store: Deployed) -> None:
    with worker_thread(store.settings("worker")):
        broker = Broker.connect(store.settings("gateway"))
        await broker.check()
        part, array = media(1)
        request = generate(media=[part])
        assert text_of(await run(broker, request, {part.blob: array})) == answer(request, [array])
        assert (await broker.state(request.id, request.tenant)).status == "done"
        again = generate("again", media=[part])
        assert text_of(await run(broker, again)) == answer(again, [array]), "from the cache"
        await broker.close()


async def test_so_do_cancelling_takeover_and_draining(store: Deployed) -> None:
    workers = store.settings("worker")
    broker = Broker.connect(store.settings("gateway"))
    request = generate("take me over")
    with worker_thread(workers, FakeRuntime(step_delay=0.3)) as first:
        await broker.submit(request)
        await until(lambda: first.worker is not None and first.runtime.has_work)
        first.drain(0.0)
        first.join()
    with worker_thread(workers):
        assert text_of(await collect(broker, request)) == answer(request)
    with worker_thread(workers, FakeRuntime(step_delay=0.2)) as slow:
        cancelled = generate("cancel me")
        await broker.submit(cancelled)
        await until(lambda: slow.runtime.has_work)
        await broker.cancel(cancelled.id, cancelled.tenant)
        await until(lambda: not slow.runtime.has_work)
    await broker.close()


def test_so_does_the_whole_http_interface(store: Deployed) -> None:
    gateway = {"rate_requests": 1000, "rate_tokens": 100_000, "max_concurrent": 10}
    settings = Settings(store=store.settings("gateway"), gateway=gateway, decode={"processes": 1})
    with (
        worker_thread(store.settings("worker")),
        serving(settings) as (url, _),
        httpx.Client(base_url=url, timeout=30, trust_env=False) as http,
    ):
        body = with_picture(picture())
        first = http.post("/v1/chat/completions", json=body, headers={"idempotency-key": "k1"})
        assert first.status_code == 200, first.text
        http.post("/v1/chat/completions", json=body, headers={"idempotency-key": "k1"})
        stream = http.post("/v1/chat/completions", json={**body, "stream": True})
        assert stream.text.endswith("data: [DONE]\n\n")
        file_id = http.post("/v1/files", files={"file": ("x.png", picture(2))}).json()["id"]
        assert http.get(f"/v1/files/{file_id}/content").content == picture(2)
        used = {"type": "file", "file": {"file_id": file_id}, "modality": "image"}
        assert http.post("/v1/embeddings", json={"input": ["x", used]}).status_code == 200
        request_id = first.json()["id"]
        for method, path in (
            ("GET", "/v1/files"),
            ("GET", f"/v1/files/{file_id}"),
            ("DELETE", f"/v1/files/{file_id}"),
            ("GET", "/v1/models"),
            ("GET", f"/v1/requests/{request_id}"),
            ("GET", f"/v1/requests/{request_id}/events"),
            ("DELETE", f"/v1/requests/{request_id}"),
            ("GET", "/health/ready"),
        ):
            assert http.request(method, path).status_code == 200, path


FORBIDDEN = [
    *("FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "CONFIG GET *", "CONFIG SET dir /tmp", "SHUTDOWN"),
    *("SAVE", "BGREWRITEAOF", "REPLICAOF 127.0.0.1 1", "ACL LIST", "ACL SETUSER x on nopass"),
    *(
        "MONITOR",
        "CLIENT LIST",
        "CLIENT KILL ID 1",
        "SLOWLOG GET",
        "MIGRATE 127.0.0.1 1 k 0 1",
        "SUBSCRIBE x",
        "DUMP k",
    ),
    *(
        "SCRIPT FLUSH",
        "FUNCTION LIST",
        "SORT k",
        "RANDOMKEY",
        "SWAPDB 0 1",
        "CLUSTER INFO",
        "RENAME a b",
        "EVALSHA x 0",
    ),
]


@pytest.mark.parametrize("user", list(PASSWORDS))
def test_neither_user_may_run_anything_else(deployed: Deployed, user: str) -> None:
    with deployed.client(user) as client:
        for command in FORBIDDEN:
            with pytest.raises(NoPermissionError):
                client.execute_command(*command.split())
        with pytest.raises(NoPermissionError):
            client.get("another:key")
        with pytest.raises(ResponseError):
            client.eval("return redis.call('FLUSHALL')", 0)
        assert client.ping()


def test_a_user_may_not_do_the_others_work(deployed: Deployed) -> None:
    with deployed.client("gateway") as gateway, deployed.client("worker") as worker:
        with pytest.raises(NoPermissionError):
            gateway.xreadgroup("workers", "g", {Keys().queue("fake", "interactive"): ">"})
        with pytest.raises(NoPermissionError):
            worker.hgetall("pandagpt:files:{x}")
        with pytest.raises(NoPermissionError):
            worker.lindex("pandagpt:file:{x}:y", 0)


async def test_a_refusal_of_the_store_is_named_as_one(deployed: Deployed) -> None:
    broker = Broker.connect(deployed.settings("gateway", password="wrong"))
    with pytest.raises(StoreRefused):
        await broker.check()
    await broker.close()


def test_every_command_of_every_script_is_allowed_to_whoever_runs_it(root: Path) -> None:
    users = {
        line.split()[1]: set(re.findall(r"\+([a-z|]+)", line))
        for line in (root / "deploy/valkey/users.acl").read_text(encoding="utf-8").splitlines()
    }
    for script in sorted((root / "service/broker/lua").glob("*.lua")):
        text = script.read_text(encoding="utf-8")
        calls = re.findall(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?", text)
        needed = {f"{name}|{sub}".lower() if name in ("XINFO", "XGROUP") else name.lower() for name, sub in calls}
        assert any(needed <= allowed for allowed in users.values()), (script.name, needed)


# The deployment's files


def test_compose_publishes_the_gateway_alone_and_asks_for_passwords(root: Path) -> None:
    text = (root / "docker-compose.yml").read_text(encoding="utf-8")
    services = yaml.safe_load(text)["services"]
    plain = {name: service for name, service in services.items() if service.get("profiles") != ["monitoring"]}
    assert [name for name, service in plain.items() if "ports" in service] == ["gateway"]
    watching = [port for name, service in services.items() if name not in plain for port in service["ports"]]
    assert all(":-127.0.0.1:" in port for port in watching), "monitoring is for this machine unless asked"
    assert services["gateway"]["ports"] == ["${GATEWAY_ADDRESS:-127.0.0.1:8000}:8000"]
    assert [name for name, service in plain.items() if "front" in service["networks"]] == ["gateway"]
    assert yaml.safe_load(text)["networks"]["inside"]["internal"] is True
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or value.startswith("${STORE_"), name
            assert "PASSWORD" not in name or ":?" in value, f"{name} may be empty"
    assert services["gateway"]["environment"]["PANDAGPT_STORE_USERNAME"] == "gateway"
    assert services["worker"]["environment"]["PANDAGPT_STORE_USERNAME"] == "worker"


def test_compose_and_images_set_only_settings_that_exist(root: Path) -> None:
    from service.settings import variables

    texts = [root / "docker-compose.yml", *sorted((root / "deploy").glob("Dockerfile.*"))]
    named = {name for file in texts for name in re.findall(r"PANDAGPT_[A-Z_]+", file.read_text(encoding="utf-8"))}
    assert named
    assert named <= set(variables())


def test_the_store_of_the_deployment_is_not_older_than_the_fixes(root: Path) -> None:
    image = yaml.safe_load((root / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["store"]["image"]
    found = re.fullmatch(r"\$\{STORE_IMAGE:-valkey/valkey:(\d+)\.(\d+).*\}", image)
    assert found is not None
    assert (int(found[1]), int(found[2])) >= (9, 1), "9.0 before 9.0.3 falls to CVE-2026-27623"


@pytest.mark.parametrize(
    ("info", "outcome"),
    [
        ({"redis_version": "6.0.16"}, StoreTooOld),
        ({"redis_version": "6.2.0"}, "security"),
        ({"redis_version": "7.0.15"}, "security"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.0"}, None),
        ({"redis_version": "8.6.3"}, None),
    ],
)
def test_the_client_checks_the_stores_version_and_warns(info: dict[str, str], outcome: object) -> None:
    if outcome is StoreTooOld:
        with pytest.raises(StoreTooOld):
            check_version(info)
    else:
        warning = check_version(info)
        assert (warning is None) == (outcome is None)
        assert outcome is None or str(outcome) in str(warning)
