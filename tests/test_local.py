"""`pandagpt serve`: its checks, starts, restarts and remains. Real processes; stand-ins for the two halves."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from service import cli, settings
from service.local import address, lock, ports, supervisor
from service.settings import SettingsError

# The supervisor as a process of its own, with the stand-ins as its halves.
HOUSE = """
import sys
from service import cli, settings
from service.local import supervisor
folder = sys.argv[1]
halves = {name: (sys.executable, sys.argv[2], name, folder) for name in ("gateway", "worker")}
local = {"stop_grace_s": float(sys.argv[4]), "restart_s": 0.1}
given = {"gateway": {"port": int(sys.argv[3])}, "worker": {"model": folder}, "local": local}
sys.exit(supervisor.serve(settings.load(given), given, lambda text: print(text, flush=True), halves))
"""


class House:
    """A running `serve` in a folder of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.output = folder / "output.txt"
        (folder / "config.json").write_text("{}")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def start(self, stop_grace_s: float = 1.5) -> None:
        stand_ins = Path(__file__).with_name("fake_halves.py")
        command = [sys.executable, "-c", HOUSE, str(self.folder), str(stand_ins), str(self.port), str(stop_grace_s)]
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=output, stderr=output)

    def until(self, done: Callable[[], object], what: str) -> None:
        limit = time.monotonic() + 15
        while not done():
            assert time.monotonic() < limit, f"{what} did not happen; the output was:\n{self.output.read_text()}"
            time.sleep(0.02)

    def says(self, text: str) -> None:
        self.until(lambda: text in self.output.read_text(), f"{text!r}")

    def started(self, name: str, number: int = 0) -> int:
        """The process id of the half's n-th start."""
        file = self.folder / f"{name}.{number}.start"
        self.until(lambda: file.exists() and file.read_text(), f"start {number} of {name}")
        return int(file.read_text())

    def store_pid(self) -> int:
        url = f"unix://{self.folder / '.state/store/valkey.sock'}"
        with redis.Redis.from_url(url) as client:
            return int(client.info("server")["process_id"])

    def pids(self) -> list[int]:
        return [self.store_pid(), self.started("gateway"), self.started("worker")]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, ports.choose("127.0.0.1", 0))
    (tmp_path / "ready").touch()
    yield house
    if house._process is not None and house._process.poll() is None:
        house._process.kill()
        house._process.wait()


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_greets_with_a_line_to_try_only_once_a_worker_is_there(house: House) -> None:
    (house.folder / "ready").unlink()
    house.start()
    house.started("worker")
    time.sleep(0.3)
    assert "curl" not in house.output.read_text()
    (house.folder / "ready").touch()
    house.says("Ctrl-C ends it.")
    assert "ready after" in house.output.read_text()
    assert f"http://127.0.0.1:{house.port}/v1/generate" in house.output.read_text()
    assert house.end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_every_process_and_the_status_is_good(number: signal.Signals, house: House) -> None:
    house.start()
    house.says("Ctrl-C ends it.")
    pids = house.pids()
    assert all(alive(pid) for pid in pids)
    assert house.end(number) == 0
    assert not [pid for pid in pids if alive(pid)]
    assert house.output.read_text().rstrip().endswith("stopped")


def test_a_child_that_hangs_is_killed_with_all_that_it_started(house: House) -> None:
    (house.folder / "worker.hangs").touch()
    house.start()
    house.says("Ctrl-C ends it.")
    grandchild = house.folder / "worker.grandchild"
    house.until(grandchild.exists, "the worker's own child")
    pids = [*house.pids(), int(grandchild.read_text())]
    assert house.end() == 0
    assert "worker did not end; killing it" in house.output.read_text()
    assert not [pid for pid in pids if alive(pid)]


def test_a_second_signal_does_not_wait_for_the_grace_time(house: House) -> None:
    (house.folder / "worker.hangs").touch()
    house.start(stop_grace_s=3600)
    house.says("Ctrl-C ends it.")
    house.until((house.folder / "worker.grandchild").exists, "the worker's own child")
    house.process.send_signal(signal.SIGINT)
    house.says("stopping")
    assert house.end(signal.SIGINT) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_no_process_outlives_a_supervisor_that_was_killed(house: House) -> None:
    house.start()
    house.says("Ctrl-C ends it.")
    pids = house.pids()
    house.process.kill()
    house.process.wait()
    house.until(lambda: not [pid for pid in pids if alive(pid)], "the children's end")


def test_a_half_that_dies_is_started_again_and_the_other_goes_on(house: House) -> None:
    house.start()
    house.says("Ctrl-C ends it.")
    gateway = house.started("gateway")
    os.kill(house.started("worker"), signal.SIGKILL)
    assert house.started("worker", 1) != house.started("worker")
    assert "worker ended (signal SIGKILL); starting it again in 0.1 s" in house.output.read_text()
    assert alive(gateway)
    assert house.end() == 0


def test_pauses_between_restarts_double(house: House) -> None:
    (house.folder / "worker.dies").touch()
    house.start()
    for pause in ("0.1", "0.2", "0.4"):
        house.says(f"worker ended (status 1); starting it again in {pause} s")
    assert house.end() == 0


def test_a_store_that_dies_comes_back_with_what_it_held(house: House) -> None:
    house.start()
    house.says("Ctrl-C ends it.")
    url = f"unix://{house.folder / '.state/store/valkey.sock'}"
    with redis.Redis.from_url(url) as client:
        client.xadd("queue", {"request": "r1"})
        time.sleep(1.2)  # its file is written through once a second
        before = house.store_pid()
        os.kill(before, signal.SIGKILL)
        house.says("store ended")

        def back() -> bool:
            try:
                return client.xlen("queue") == 1 and house.store_pid() != before
            except redis.RedisError:
                return False

        house.until(back, "the store's return")
    assert house.end() == 0


def test_a_half_whose_settings_are_wrong_ends_it_all_with_its_status(house: House) -> None:
    (house.folder / "worker.refuses").touch()
    house.start()
    assert house.process.wait(timeout=120) == 2
    assert "worker cannot start; its reason stands above" in house.output.read_text()
    assert not alive(house.started("gateway"))


def test_the_children_get_the_stores_address_and_end_within_the_grace_time(house: House) -> None:
    house.start()
    house.says("Ctrl-C ends it.")
    given = json.loads((house.folder / "environment.json").read_text())
    assert given["PANDAGPT_STORE_URL"] == f"unix://{house.folder / '.state/store/valkey.sock'}"
    assert given["PANDAGPT_WORKER_MODEL"] == str(house.folder)
    assert float(given["PANDAGPT_WORKER_DRAIN_GRACE_S"]) == 0.5
    assert house.end() == 0


def test_the_store_is_open_to_its_user_alone_and_listens_on_no_port(house: House) -> None:
    house.start()
    house.says("Ctrl-C ends it.")
    path = house.folder / ".state/store/valkey.sock"
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    with redis.Redis.from_url(f"unix://{path}") as client:
        assert client.config_get("port") == {"port": "0"}
    assert house.end() == 0


def test_a_second_serve_on_the_same_state_is_refused_and_harms_nothing(house: House) -> None:
    house.start()
    house.says("Ctrl-C ends it.")
    with pytest.raises(SettingsError, match=f"process {house.process.pid}"), lock.held(house.folder / ".state"):
        raise AssertionError("the lock was given twice")
    assert all(alive(pid) for pid in house.pids())
    assert house.end() == 0
    with lock.held(house.folder / ".state"):
        assert (house.folder / ".state/lock").read_text() == str(os.getpid())


@pytest.mark.parametrize("folder", ["plain", "deep-" * 30])
def test_the_queue_command_finds_the_store_of_a_running_serve(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    house = House(Path.cwd(), ports.choose("127.0.0.1", 0))
    (house.folder / "ready").touch()
    house.start()
    house.says("Ctrl-C ends it.")
    assert cli.main(["queue", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert house.end() == 0
    assert cli.main(["queue", "list"]) == 2
    assert "no store" in capsys.readouterr().err


def test_a_service_on_another_port_is_found_by_the_commands_that_call_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(house.folder)
    house.start()
    house.says("Ctrl-C ends it.")
    assert address.of_service(settings.load()) == f"http://127.0.0.1:{house.port}"
    assert house.end() == 0
    assert address.of_service(settings.load()) == "http://127.0.0.1:8000"


def test_a_deep_folder_still_gets_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("deep-" * 30)
    folder.mkdir()
    house = House(folder, ports.choose("127.0.0.1", 0))
    (folder / "ready").touch()
    house.start()
    house.says("Ctrl-C ends it.")
    assert house.end() == 0


def test_a_port_that_is_taken_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        given = {"gateway": {"port": port}, "worker": {"model": tmp_path}}
        said: list[str] = []
        with pytest.raises(SettingsError, match=rf"port {port} on 127\.0\.0\.1 is taken.*--port"):
            supervisor.serve(settings.load(given), given, said.append)
    assert said == []
    assert not (tmp_path / ".state").exists()


def test_a_service_that_runs_already_is_named_before_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with lock.held(tmp_path / ".state"), socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = {"gateway": {"port": taken.getsockname()[1]}, "worker": {"model": tmp_path}}
        with pytest.raises(SettingsError, match=rf"runs already on .state \(process {os.getpid()}\).*--port"):
            supervisor.serve(settings.load(given), given, print)


def test_a_missing_model_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"worker\.model: models/panda-mini is no model folder"):
        supervisor.check(settings.load())


def test_port_zero_is_any_free_one_and_a_strange_host_is_named() -> None:
    assert ports.choose("127.0.0.1", 0) > 0
    with pytest.raises(SettingsError, match=r"gateway\.host: 203\.0\.113\.7 is no address of this machine"):
        ports.choose("203.0.113.7", 0)
