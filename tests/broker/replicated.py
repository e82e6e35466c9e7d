"""A store that fails over: a master, a replica and a sentinel with a quorum of one, each a process on loopback."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from service.local.store import binary
from service.settings import SettingsError, StoreSettings
from tests.chaos.house import free_port, until

NAME = "ours"
PASSWORD = "a-store-s"
SENTINEL_PASSWORD = "a-sentinel-s"
DOWN_AFTER_MS = 400


@dataclass
class Replicated:
    """`settings` name the sentinels alone, a dead one first."""

    program: str
    folder: Path
    ports: tuple[int, int]
    sentinel_port: int
    settings: StoreSettings
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *arguments: str) -> None:
        command = [self.program, "own.conf", *arguments]
        self.processes[name] = subprocess.Popen(command, cwd=self.folder / name, stdout=subprocess.DEVNULL)

    def start_sentinel(self) -> None:
        self.start("sentinel", "--sentinel")
        with self.sentinel() as watching:
            until(lambda: _sees_replica(watching), "a sentinel that sees both")

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait(20)

    def client(self, number: int) -> "redis.Redis":
        """To the first master (0) or the replica (1)."""
        return redis.Redis(port=self.ports[number], password=PASSWORD, socket_timeout=5)

    def sentinel(self) -> "redis.Redis":
        return redis.Redis(port=self.sentinel_port, password=SENTINEL_PASSWORD, socket_timeout=5)

    def cut_off_replica(self) -> None:
        """From now on the replica gets nothing more: what is written is lost with the master."""
        with self.client(1) as replica, self.client(0) as master:
            replica.config_set("masterauth", "wrong")
            master.client_kill_filter(_type="replica")
            until(lambda: replica.info("replication")["master_link_status"] == "down", "a replica cut off")

    def wait_until_promoted(self) -> None:
        with self.client(1) as replica:
            until(lambda: replica.info("replication")["role"] == "master", "the replica's promotion")


@contextlib.contextmanager
def replicated(folder: Path) -> Iterator[Replicated]:
    """Started and in step; skips where there is no Valkey."""
    try:
        program = binary()
    except SettingsError as error:
        pytest.skip(str(error))  # the reason: no Valkey for this system
    master, replica, sentinel, nobody = (free_port() for _ in range(4))
    common = f'bind 127.0.0.1\nsave ""\nrequirepass {PASSWORD}\nmasterauth {PASSWORD}\nrepl-diskless-sync-delay 0\n'
    texts = {
        "master": f"port {master}\n{common}",
        "replica": f"port {replica}\n{common}replicaof 127.0.0.1 {master}\n",
        "sentinel": f"port {sentinel}\nbind 127.0.0.1\nrequirepass {SENTINEL_PASSWORD}\n"
        f"sentinel monitor {NAME} 127.0.0.1 {master} 1\nsentinel auth-pass {NAME} {PASSWORD}\n"
        f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\nsentinel failover-timeout {NAME} 5000\n",
    }
    settings = StoreSettings(
        sentinels=(f"127.0.0.1:{nobody}", f"127.0.0.1:{sentinel}"),
        sentinel_master=NAME,
        sentinel_password=SENTINEL_PASSWORD,
        password=PASSWORD,
        command_timeout_s=3.0,
    )
    made = Replicated(program, folder, (master, replica), sentinel, settings)
    for name, text in texts.items():
        (folder / name).mkdir()
        (folder / name / "own.conf").write_text(text)
    try:
        made.start("master")
        made.start("replica")
        until(lambda: _in_step(made), "a replica in step")
        made.start_sentinel()  # last: it looks for replicas at its start, and then every ten seconds
        yield made
    finally:
        for name in made.processes:
            made.kill(name)


def _in_step(made: Replicated) -> bool:
    with contextlib.suppress(redis.RedisError), made.client(1) as replica:
        return replica.info("replication").get("master_link_status") == "up"
    return False


def _sees_replica(sentinel: "redis.Redis") -> bool:
    with contextlib.suppress(redis.RedisError):
        return int(sentinel.sentinel_master(NAME)["num-slaves"]) == 1
    return False


def answers_within(client: "redis.Redis", seconds: float) -> float:
    """How long it took until the client could write. Fails past the limit."""
    begun = time.monotonic()
    while True:
        try:
            client.set("pandagpt:probe", b"1", ex=60)
            return time.monotonic() - begun
        except (redis.RedisError, OSError):
            assert time.monotonic() - begun < seconds, f"no write within {seconds:g} seconds"
            time.sleep(0.05)
