"""A store that fails over: a master, a replica and one sentinel or several, each a process on loopback."""

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
from tests.chaos.house import until
from tests.ports import free_port

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
    sentinel_ports: tuple[int, ...]
    settings: StoreSettings
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *arguments: str) -> None:
        command = [self.program, "own.conf", *arguments]
        self.processes[name] = subprocess.Popen(command, cwd=self.folder / name, stdout=subprocess.DEVNULL)

    def start_sentinel(self, number: int = 0, down_s: float = 0.0) -> None:
        """Returns when it sees the replica. It promotes none that was without its master for ten times the time in
        which a master is taken for down, so one that was down for long is to be named."""
        self.start(sentinel_name(number), "--sentinel")
        with self.sentinel(number) as watching:
            until(lambda: _sees(watching, "num-slaves", 1), "a sentinel that sees the replica")
            watching.sentinel_set(NAME, "down-after-milliseconds", max(DOWN_AFTER_MS, round(1000 * down_s)))

    def start_sentinels(self) -> None:
        """Returns when each knows all others: only then can they vote."""
        for number in range(len(self.sentinel_ports)):
            self.start_sentinel(number)
        for number in range(len(self.sentinel_ports)):
            with self.sentinel(number) as watching:
                until(lambda: _sees(watching, "num-other-sentinels", len(self.sentinel_ports) - 1), "the others")

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait(20)

    def client(self, number: int) -> "redis.Redis":
        """To the first master (0) or the replica (1)."""
        return redis.Redis(port=self.ports[number], password=PASSWORD, socket_timeout=5)

    def sentinel(self, number: int = 0) -> "redis.Redis":
        return redis.Redis(port=self.sentinel_ports[number], password=SENTINEL_PASSWORD, socket_timeout=5)

    def cut_off_replica(self) -> None:
        """From now on the replica gets nothing more: later writes are lost with the master."""
        with self.client(1) as replica, self.client(0) as master:
            replica.config_set("masterauth", "wrong")
            master.client_kill_filter(_type="replica")
            until(lambda: replica.info("replication")["master_link_status"] == "down", "a replica cut off")

    def wait_until_promoted(self) -> None:
        with self.client(1) as replica:
            until(lambda: replica.info("replication")["role"] == "master", "the replica's promotion")


def sentinel_name(number: int) -> str:
    """Of the process and its folder."""
    return f"sentinel{number or ''}"


@contextlib.contextmanager
def replicated(folder: Path, sentinels: int = 1) -> Iterator[Replicated]:
    """Started and in step; a majority of the sentinels is their quorum. Skips where there is no Valkey."""
    try:
        program = binary()
    except SettingsError as error:
        pytest.skip(str(error))  # the reason: no Valkey for this system
    master, replica, nobody, *watching = (free_port() for _ in range(3 + sentinels))
    common = f'bind 127.0.0.1\nsave ""\nrequirepass {PASSWORD}\nmasterauth {PASSWORD}\nrepl-diskless-sync-delay 0\n'
    texts = {
        "master": f"port {master}\n{common}",
        "replica": f"port {replica}\n{common}replicaof 127.0.0.1 {master}\n",
    }
    texts |= {sentinel_name(n): _sentinel_text(port, master, sentinels // 2 + 1) for n, port in enumerate(watching)}
    settings = StoreSettings(
        sentinels=tuple(f"127.0.0.1:{port}" for port in (nobody, *watching)),
        sentinel_master=NAME,
        sentinel_password=SENTINEL_PASSWORD,
        password=PASSWORD,
        command_timeout_s=3.0,
    )
    made = Replicated(program, folder, (master, replica), tuple(watching), settings)
    for name, text in texts.items():
        (folder / name).mkdir()
        (folder / name / "own.conf").write_text(text)
    try:
        made.start("master")
        made.start("replica")
        until(lambda: _in_step(made), "a replica in step")
        made.start_sentinels()  # last: it looks for replicas at its start, and then every ten seconds
        yield made
    finally:
        for name in made.processes:
            made.kill(name)


def _sentinel_text(port: int, master: int, quorum: int) -> str:
    return (
        f"port {port}\nbind 127.0.0.1\nrequirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n"
        f"sentinel monitor {NAME} 127.0.0.1 {master} {quorum}\nsentinel auth-pass {NAME} {PASSWORD}\n"
        f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\nsentinel failover-timeout {NAME} 5000\n"
    )


def _in_step(made: Replicated) -> bool:
    with contextlib.suppress(redis.RedisError), made.client(1) as replica:
        return replica.info("replication").get("master_link_status") == "up"
    return False


def _sees(sentinel: "redis.Redis", count: str, expected: int) -> bool:
    with contextlib.suppress(redis.RedisError):
        return int(sentinel.sentinel_master(NAME)[count]) == expected
    return False


def answers_within(client: "redis.Redis", seconds: float) -> float:
    """Seconds until the client could write. Fails past the limit."""
    begun = time.monotonic()
    while True:
        try:
            client.set("pandagpt:probe", b"1", ex=60)
            return time.monotonic() - begun
        except (redis.RedisError, OSError):
            assert time.monotonic() - begun < seconds, f"no write within {seconds:g} seconds"
            time.sleep(0.05)
